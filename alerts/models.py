"""What alerts store: changed rules, incidents and their course, channels, the outbox."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.encryption import Binding, EncryptedField, decrypt, encrypt
from common.fields import RedactedTextField


class Level(models.IntegerChoices):
    """How loud a problem is. Urgent ones wait for nothing: neither for a group nor for morning."""

    URGENT = 1, "urgent"
    WARNING = 2, "warning"
    NOTICE = 3, "notice"


class Rule(models.Model):
    """What people changed of a rule of `alerts.rules`; null: the default in code."""

    name = models.CharField(max_length=64, unique=True)
    enabled = models.BooleanField(default=True)
    level = models.PositiveSmallIntegerField(choices=Level.choices, null=True, blank=True)
    threshold = models.FloatField(null=True, blank=True)
    hold_seconds = models.PositiveIntegerField(null=True, blank=True)
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.CharField(max_length=150, blank=True)

    class Meta:
        db_table = "alert_rules"
        ordering: ClassVar = ["name"]
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return f"rule {self.name}"


class Incident(models.Model):
    """One problem from its beginning to its end. Of each key, one at most is open.

    since: when the problem was first seen. seen_since: since when it has been seen without a break.
    opened_at: null while its rule still waits whether it lasts. gone_since: the problem is no
    longer seen, and the incident not yet resolved. reported: the loudest level that channels were
    given; null if none was. cause: an incident that explains this one, and is reported instead.
    let_go: it was resolved because its rule was switched off or changed, not its problem.
    affected_counts: as `alerts.affected` counts them; empty of what a version before stored.
    flaps: how often it came back shortly after its end. source: of the problem; a person
    who is shown its problems is shown the incident.
    """

    key = models.CharField(max_length=200)
    rule = models.CharField(max_length=64)
    source = models.CharField(max_length=32, default="", db_default="")
    level = models.PositiveSmallIntegerField(choices=Level.choices)
    rank = models.PositiveSmallIntegerField(help_text="of the problem; 0 is the most severe")
    title = models.CharField(max_length=100)
    text = RedactedTextField()
    brief = RedactedTextField(help_text="the text without names of people")
    link_kind = models.CharField(max_length=32)
    link_key = models.CharField(max_length=64, blank=True)
    affected = models.JSONField(default=list)
    affected_counts = models.JSONField(default=dict, db_default={})
    since = models.DateTimeField()
    seen_since = models.DateTimeField()
    opened_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField()
    gone_since = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    let_go = models.BooleanField(default=False, db_default=False)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=150, blank=True)
    acknowledged_until = models.DateTimeField(null=True)
    reported = models.PositiveSmallIntegerField(null=True)
    reported_at = models.DateTimeField(null=True)
    cause = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="symptoms")
    flaps = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "alert_incidents"
        ordering: ClassVar = ["level", "rank", "-since"]
        default_permissions = ("view", "change")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["key"], condition=Q(resolved_at=None), name="one_open_incident_per_key"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-since", "-id"], name="incidents_by_time"),
            models.Index(fields=["key", "-resolved_at"], name="incidents_of_a_key"),
            models.Index(
                fields=["-resolved_at"],
                condition=Q(resolved_at__isnull=False),
                name="incidents_lately_resolved",
            ),
        ]

    def __str__(self) -> str:
        return f"incident {self.pk}: {self.title}"

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None and self.resolved_at is None

    def is_acknowledged(self, now: datetime) -> bool:
        """Whether somebody has taken it up; an end that was given with it has not passed."""
        until = self.acknowledged_until
        return self.acknowledged_at is not None and (until is None or until > now)


class IncidentEvent(models.Model):
    """One line of an incident's timeline."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=16)
    actor = models.CharField(max_length=150, blank=True)
    text = RedactedTextField(blank=True)

    class Meta:
        db_table = "alert_events"
        ordering: ClassVar = ["at", "id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


class Mute(models.Model):
    """No message about this key until then; it holds for incidents to come, too."""

    key = models.CharField(max_length=200, primary_key=True)
    until = models.DateTimeField()
    reason = models.CharField(max_length=255)
    by = models.CharField(max_length=150)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "alert_mutes"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.key} until {self.until:%Y-%m-%d %H:%M} UTC"


class ChannelKind(models.TextChoices):
    SLACK = "slack", "Slack"
    DISCORD = "discord", "Discord"
    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"
    APPRISE = "apprise", "Another service (Apprise)"


class Channel(models.Model):
    """Where messages go, and which.

    address: the URL, whose path is a secret with most services. signing: the webhook's key, which
    is bound to the address's host. host: of the address, to be shown.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=16, choices=ChannelKind.choices)
    enabled = models.BooleanField(default=True)
    address = EncryptedField(null=True, blank=True, editable=False)
    signing = EncryptedField(null=True, blank=True, editable=False)
    host = models.CharField(max_length=255, blank=True, editable=False)
    recipients = models.JSONField(default=list, blank=True)
    level = models.PositiveSmallIntegerField(choices=Level.choices, default=Level.NOTICE)
    syncs = models.JSONField(default=list, blank=True, help_text="names; empty: all")
    instances = models.JSONField(default=list, blank=True, help_text="ids; empty: all")
    groups = models.JSONField(
        default=list, blank=True, db_default=[], help_text="of instances; empty: all"
    )
    labels = models.JSONField(
        default=list, blank=True, db_default=[], help_text="of instances; empty: all"
    )
    personal_data = models.BooleanField(default=False)
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_to = models.TimeField(null=True, blank=True)
    zone = models.CharField(max_length=64, default="UTC")
    per_hour = models.PositiveSmallIntegerField(default=20)
    failing_since = models.DateTimeField(null=True, editable=False)
    last_error = RedactedTextField(blank=True, editable=False)
    last_sent_at = models.DateTimeField(null=True, editable=False)
    gone_at = models.DateTimeField(null=True, editable=False, help_text="it no longer exists there")

    class Meta:
        db_table = "alert_channels"
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def is_usable(self) -> bool:
        return self.enabled and self.gone_at is None

    def set_address(self, url: str, host: str) -> None:
        self.host = host
        self.address = encrypt(url, self._binding())

    def set_signing(self, key: str) -> None:
        self.signing = encrypt(key, self._binding(self.host))

    def read_address(self) -> str:
        """The URL in clear. Raises CredentialError if it can't be decrypted."""
        return decrypt(self.address, self._binding(), f"channel {self.name}")

    def read_signing(self) -> str:
        """The signing key in clear. Raises CredentialError if it was entered for another host."""
        return decrypt(self.signing, self._binding(self.host), f"channel {self.name}")

    def _binding(self, *settings: str) -> Binding:
        return Binding(row=f"alert_channels/{self.id}", settings=(self.kind, *settings), strength=0)


class Delivery(models.Model):
    """The outbox: one message to one channel, sent at least once.

    id: the same however often it is sent, so that receivers can leave out a repetition. content:
    as `alerts.messages` made it. claimed_until: a process sends it now. tried_at: when the last
    attempt began. attempts: begun ones.
    maybe_arrived: one of them ended without a result, as its process died.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    content = models.JSONField()
    urgent = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    not_before = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    maybe_arrived = models.BooleanField(default=False)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    error = RedactedTextField(blank=True)

    class Meta:
        db_table = "alert_deliveries"
        ordering: ClassVar = ["created_at", "id"]
        verbose_name_plural = "deliveries"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["not_before"],
                condition=Q(sent_at=None, given_up_at=None),
                name="deliveries_to_send",
            ),
            models.Index(fields=["channel", "-created_at"], name="deliveries_of_a_channel"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.id}"


class RequestedMail(models.Model):
    """The outbox of mails that other apps ask for, such as to a tenant's contact.

    id: in each attempt the same, as of a delivery. key: of what it is about, once. The other fields
    are those of a delivery.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(max_length=200, unique=True)
    recipient = models.CharField(max_length=320)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    created_at = models.DateTimeField()
    not_before = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    error = RedactedTextField(blank=True)

    class Meta:
        db_table = "alert_requested_mails"
        ordering: ClassVar = ["created_at", "id"]
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["not_before"],
                condition=Q(sent_at=None, given_up_at=None),
                name="requested_mails_to_send",
            ),
        ]

    def __str__(self) -> str:
        return f"mail about {self.key}"


class NoticeKind(models.TextChoices):
    OPENED = "opened"
    WORSE = "worse"
    REOPENED = "reopened"
    REMINDER = "reminder"
    RESOLVED = "resolved"


class Notice(models.Model):
    """What a channel is to get about an incident. A delivery takes several along."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="notices")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=16, choices=NoticeKind.choices)
    created_at = models.DateTimeField()
    delivery = models.ForeignKey(
        Delivery, null=True, on_delete=models.CASCADE, related_name="notices"
    )
    dropped_at = models.DateTimeField(null=True, help_text="its incident ended before it was sent")

    class Meta:
        db_table = "alert_notices"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["channel"],
                condition=Q(delivery=None, dropped_at=None),
                name="notices_that_wait",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of incident {self.incident_id}"


WAITING = Q(delivery=None, dropped_at=None)
UNSENT = Q(sent_at=None, given_up_at=None)
OPEN = Q(resolved_at=None, opened_at__isnull=False)
GIVES_UP_AFTER = timedelta(days=2)  # a message that no attempt could deliver
STUCK_AFTER = timedelta(minutes=10)  # an evaluation comes each minute, and messages are sent in it
EVALUATION = "alerts.evaluation"  # the name under which the end of an evaluation is noted
Content = dict[str, Any]
