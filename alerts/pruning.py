"""What goes of alerts some time after it was needed last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Exists, OuterRef

from alerts.models import UNSENT, Delivery, Incident, IncidentEvent, Mute, Notice, RequestedMail
from syncs.engine.pruning import Rule, in_batches, older, register

INCIDENTS = "RAINBO_INCIDENT_RETENTION_DAYS"
MESSAGES = "RAINBO_MESSAGE_RETENTION_DAYS"


def _messages(_: datetime, before: datetime) -> Iterator[int]:
    """Of an incident that is open the last message to each channel stays: its end is sent to those
    that got it."""
    sent = Notice.objects.filter(delivery__isnull=False)
    this = {"incident": OuterRef("incident"), "channel": OuterRef("channel")}
    last = sent.filter(~Exists(sent.filter(**this, pk__gt=OuterRef("pk"))))
    needed = last.filter(delivery=OuterRef("pk"), incident__resolved_at=None)
    yield from in_batches(Delivery.objects.filter(~UNSENT, ~Exists(needed), created_at__lt=before))
    yield from in_batches(Notice.objects.filter(dropped_at__lt=before))


def _mails(_: datetime, before: datetime) -> Iterator[int]:
    return in_batches(RequestedMail.objects.filter(~UNSENT, created_at__lt=before))


register(
    Rule(
        "incidents",
        ("alerts.Incident", "alerts.IncidentEvent", "alerts.Notice"),
        INCIDENTS,
        "its end; with its timeline",
        older(Incident, "resolved_at"),
    ),
    Rule(
        "timelines",
        ("alerts.IncidentEvent",),
        INCIDENTS,
        "when it was written, of an incident that is still open too",
        older(IncidentEvent, "at"),
    ),
    Rule(
        "messages",
        ("alerts.Delivery", "alerts.Notice"),
        MESSAGES,
        "when it was made, if it was sent or given up; the last of an open incident stays",
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
