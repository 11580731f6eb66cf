"""What is wrong with the channels: one is failing, or is gone, or messages stay in the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Min

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
    """In two queries."""
    rows = Channel.objects.filter(enabled=True, failing_since__isnull=False)
    values = rows.values_list("pk", "name", "failing_since", "last_error", "gone_at")
    failing = tuple(
        FailingChannel(str(pk), name, since, error, gone is not None)
        for pk, name, since, error, gone in values
        if since
    )
    usable = {"channel__enabled": True, "channel__gone_at": None}
    due = Delivery.objects.filter(UNSENT, attempts=0, not_before__lte=now, **usable)
    return ChannelFacts(now, failing, due.aggregate(first=Min("not_before"))["first"])


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
