"""A person's account at a service, and how its fetching goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, QuerySet

from common.encryption import Binding, EncryptedField, decrypt_json, encrypt_json
from common.fields import RedactedTextField

KEY = "connection/"
LONGEST_FREQUENCY = 7 * 24 * 60  # minutes


class Connection(models.Model):
    """An account at a service. Its state isn't stored: `integrations.due` judges these facts.

    attempt: failures in a row within its period. generation: grows with each new credential, so
    that a run that began with the former one publishes nothing more.
    """

    service = models.CharField(max_length=64)
    name = models.CharField(max_length=100)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="connections"
    )
    is_shared = models.BooleanField(
        "shared", default=False, help_text="others may see its records, too"
    )
    account = models.CharField(max_length=255, blank=True, help_text="who it is at the service")
    account_id = models.CharField(
        max_length=255, blank=True, editable=False, help_text="of the account, if it is known"
    )
    base_url = models.CharField(
        "address", max_length=255, help_text="of the service's API; it begins with https://"
    )
    credentials = EncryptedField(null=True, editable=False)
    generation = models.PositiveIntegerField(default=1, editable=False)
    scopes = models.JSONField(default=list, blank=True, editable=False)
    update_frequency_minutes = models.PositiveIntegerField(
        "frequency (minutes)",
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_FREQUENCY)],
    )
    enabled = models.BooleanField(default=True)
    paused_until = models.DateTimeField(null=True, blank=True, editable=False)
    pause_reason = models.CharField(max_length=255, blank=True, editable=False)

    last_triggered_at = models.DateTimeField(null=True, editable=False)
    last_successful_update_at = models.DateTimeField(null=True, editable=False)
    run = models.ForeignKey(
        "syncs.SyncRun", null=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    attempt = models.PositiveSmallIntegerField(default=0, editable=False)
    not_before = models.DateTimeField(null=True, editable=False)
    reconnect_since = models.DateTimeField(null=True, editable=False)
    last_error = RedactedTextField(blank=True, editable=False)
    cursor = models.JSONField(null=True, editable=False, help_text="how far it was read")
    record_count = models.BigIntegerField(default=0, editable=False)
    withheld_count = models.BigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["service", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["owner", "service", "name"], name="one_connection_of_a_name"
            ),
            models.UniqueConstraint(
                fields=["owner", "service", "base_url", "account_id"],
                condition=~models.Q(account_id=""),
                name="one_connection_of_an_account",
            ),
        ]
        permissions: ClassVar = [
            ("manage_connections", "Can see and manage everybody's connections"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.service}, connection {self.pk})"

    @classmethod
    def usable(cls) -> QuerySet[Connection]:
        """Those that are enabled, of active people, with credentials that were not rejected."""
        return cls.objects.filter(enabled=True, reconnect_since=None, owner__is_active=True)

    @property
    def key(self) -> str:
        """Its key as a target of its service's sync."""
        return f"{KEY}{self.pk}"

    @property
    def label(self) -> str:
        """What runs, which more people see, call it: without the name that its owner gave it."""
        return self.label_of(self.pk, self.service)

    @staticmethod
    def label_of(pk: int, service: str) -> str:
        return f"connection {pk} ({service})"

    @property
    def frequency(self) -> timedelta:
        return timedelta(minutes=self.update_frequency_minutes)

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def binding(self) -> Binding:
        """What its credentials are valid for: entered for one host, they are sent to no other."""
        return Binding(f"{self._meta.db_table}/{self.pk}", (self.service, self.base_url), 0)

    def set_credentials(self, values: Mapping[str, Any]) -> None:
        """Encrypt credentials for the present service and address; the row has to exist.

        Raises UsageError for text that no service takes.
        """
        self.credentials = encrypt_json(values, self.binding)

    def reveal_credentials(self) -> dict[str, Any]:
        """Return the credentials in clear text. Raises CredentialError, as `decrypt` does."""
        return decrypt_json(self.credentials, self.binding, str(self))

    @property
    def is_disconnected(self) -> bool:
        """Whether a person withdrew the access and kept the records."""
        return self.credentials is None and not self.enabled

    def disconnect(self) -> None:
        """Forget the credentials; what was fetched stays."""
        self.credentials, self.enabled, self.scopes = None, False, []
        self.generation = F("generation") + 1
        self.reconnect_since = self.not_before = None
        self.attempt, self.last_error = 0, ""
        self._save_credentials()

    def reconnect(self, values: Mapping[str, Any]) -> None:
        """Store new credentials and have it fetched at the next look."""
        self.enabled = self.enabled or self.is_disconnected
        self.set_credentials(values)
        self.generation = F("generation") + 1
        self.reconnect_since = self.not_before = None
        self.attempt, self.last_error = 0, ""
        self._save_credentials()

    def _save_credentials(self) -> None:
        state = ("enabled", "scopes", "reconnect_since", "not_before", "attempt", "last_error")
        self.save(update_fields=["credentials", "generation", *state])
        self.refresh_from_db(fields=["generation"])


def parse_key(key: str) -> int | None:
    """Return the id in `connection/5`, or in `5`; None if there is none."""
    number = key.removeprefix(KEY)
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 18 else None
