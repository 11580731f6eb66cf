"""What goes of alerts some time after it was needed last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from alerts.models import UNSENT, Delivery, Incident, Mute, RequestedMail
from syncs.engine.pruning import Rule, in_batches, older, register

MESSAGES = "RAINBO_MESSAGE_RETENTION_DAYS"


def _messages(_: datetime, before: datetime) -> Iterator[int]:
    return in_batches(Delivery.objects.filter(~UNSENT, created_at__lt=before))


def _mails(_: datetime, before: datetime) -> Iterator[int]:
    return in_batches(RequestedMail.objects.filter(~UNSENT, created_at__lt=before))


register(
    Rule(
        "incidents",
        ("alerts.Incident", "alerts.IncidentEvent", "alerts.Notice"),
        "RAINBO_INCIDENT_RETENTION_DAYS",
        "its end; with its timeline",
        older(Incident, "resolved_at"),
    ),
    Rule(
        "messages",
        ("alerts.Delivery", "alerts.Notice"),
        MESSAGES,
        "when it was made, if it was sent or given up",
        _messages,
    ),
    Rule(
        "requested mails",
        ("alerts.RequestedMail",),
        MESSAGES,
        "when it was made, if it was sent or given up",
        _mails,
    ),
    Rule("mutes", ("alerts.Mute",), MESSAGES, "its end", older(Mute, "until")),
)
