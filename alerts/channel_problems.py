"""What is wrong with the channels: one is failing, or is gone, or messages stay in the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import OuterRef, Q, Subquery

from alerts.models import UNSENT, Channel, Delivery
from common import text
from syncs.status.problems import Link, Problem, Severity, Source

STUCK_AFTER = timedelta(minutes=10)


@dataclass(frozen=True)
class FailingChannel:
    pk: str
    name: str
    since: datetime
    error: str
    is_gone: bool


@dataclass(frozen=True)
class ChannelFacts:
    """due_since: since when the oldest delivery that nobody has tried yet should be sent."""

    now: datetime
    failing: tuple[FailingChannel, ...] = ()
    due_since: datetime | None = None


def read(now: datetime) -> ChannelFacts:
    """In one query."""
    of_channel = Delivery.objects.filter(UNSENT, channel=OuterRef("pk"), attempts=0)
    due = of_channel.filter(not_before__lte=now).order_by("not_before").values("not_before")[:1]
    rows = Channel.objects.filter(enabled=True).annotate(due=Subquery(due))
    values = rows.filter(Q(failing_since__isnull=False) | Q(due__isnull=False)).values_list(
        "pk", "name", "failing_since", "last_error", "gone_at", "due"
    )
    failing, waiting = [], []
    for pk, name, since, error, gone_at, due_since in values:
        if since:
            failing.append(FailingChannel(str(pk), name, since, error, gone_at is not None))
        if due_since and gone_at is None:
            waiting.append(due_since)
    return ChannelFacts(now, tuple(failing), min(waiting, default=None))


def judge(facts: ChannelFacts, _: Sequence[Problem] = ()) -> Iterator[Problem]:
    for channel in facts.failing:
        what = "no longer exists there" if channel.is_gone else "has been failing"
        since = text.since(channel.since, facts.now)
        yield Problem(
            key=f"channel/{channel.pk}",
            severity=Severity.CHANNEL_FAILING,
            cause="channel failing",
            text=f"channel {channel.name} {what}{since}: {text.truncate(channel.error)}",
            link=Link("channel", channel.pk),
        )
    if facts.due_since and facts.now - facts.due_since > STUCK_AFTER:
        yield Problem(
            key="outbox",
            severity=Severity.CHANNEL_FAILING,
            cause="messages not sent",
            text=f"messages have waited to be sent{text.since(facts.due_since, facts.now)}: "
            "neither workers nor schedule_run send them",
            link=Link("channels"),
        )


CHANNELS = Source(
    name="channels",
    read=read,
    judge=judge,
    permissions=("alerts.view_channel", "alerts.change_channel"),
)
