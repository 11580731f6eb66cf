"""What a person who was sent to a service has to come back with."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from common.encryption import Binding, EncryptedField, decrypt, encrypt
from integrations.models.connection import Connection


class AuthorizationRequest(models.Model):
    """A person was sent to a service to allow the access; used once, in the same session.

    state_digest: SHA-256 of the state that comes back. verifier: of PKCE. connection: the one to
    connect again; None: a new one, as name, minutes and is_shared say.
    """

    state_digest = models.CharField(max_length=64, unique=True)
    verifier = EncryptedField(null=True, editable=False)
    service = models.CharField(max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    session_digest = models.CharField(max_length=64)
    connection = models.ForeignKey(
        Connection, null=True, on_delete=models.CASCADE, related_name="+"
    )
    name = models.CharField(max_length=100, blank=True)
    minutes = models.PositiveIntegerField(null=True)
    is_shared = models.BooleanField(default=False)
    expires_at = models.DateTimeField()

    class Meta:
        default_permissions: ClassVar = ()

    def __str__(self) -> str:
        return f"authorization request {self.pk} ({self.service})"

    @property
    def binding(self) -> Binding:
        return Binding(f"{self._meta.db_table}/{self.state_digest}", (self.service,), 0)

    def set_verifier(self, verifier: str) -> None:
        self.verifier = encrypt(verifier, self.binding)

    def reveal_verifier(self) -> str:
        """Raises CredentialError, as `decrypt` does."""
        return decrypt(self.verifier, self.binding, str(self))
