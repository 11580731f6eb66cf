"""What is wrong with the channels: one is failing, or is gone, or messages stay in the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import OuterRef, Subquery

from alerts.models import UNSENT, Channel, Delivery
from alerts.queries import STUCK_AFTER, evaluated_at
from common import text
from syncs.status.problems import Link, Problem, Severity, Source


@dataclass(frozen=True)
class FailingChannel:
    pk: str
    name: str
    since: datetime
    error: str
    is_gone: bool


@dataclass(frozen=True)
class ChannelFacts:
    """working: how many enabled channels are not failing. due_since: since when a message should be
    sent that nobody sends. evaluated_at: when an evaluation ended last; None before the first."""

    now: datetime
    failing: tuple[FailingChannel, ...] = ()
    working: int = 0
    due_since: datetime | None = None
    evaluated_at: datetime | None = None

    @property
    def all_failing_since(self) -> datetime | None:
        """Since when no channel has taken messages; None if one does or there is none."""
        return None if self.working else max((one.since for one in self.failing), default=None)


def read(now: datetime) -> ChannelFacts:
    """In two queries. The first unsent message of a channel counts: the others wait for it."""
    of_channel = Delivery.objects.filter(UNSENT, channel=OuterRef("pk")).order_by("created_at")
    rows = Channel.objects.filter(enabled=True).annotate(
        due=Subquery(of_channel.values("not_before")[:1])
    )
    failing, waiting, working = [], [], 0
    for pk, name, since, error, gone_at, due_since in rows.values_list(
        "pk", "name", "failing_since", "last_error", "gone_at", "due"
    ):
        if begin := since or gone_at:
            failing.append(FailingChannel(str(pk), name, begin, error, bool(gone_at)))
        else:
            working += 1
        if due_since and due_since <= now and gone_at is None:
            waiting.append(due_since)
    due = min(waiting, default=None)
    return ChannelFacts(now, tuple(failing), working, due, evaluated_at())


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
    if facts.evaluated_at and facts.now - facts.evaluated_at > STUCK_AFTER:
        yield Problem(
            key="evaluation",
            severity=Severity.CHANNEL_FAILING,
            cause="alerts not evaluated",
            text=f"alerts have not been evaluated{text.since(facts.evaluated_at, facts.now)}: "
            "incidents are as old",
            link=Link("channels"),
        )


CHANNELS = Source(
    name="channels",
    read=read,
    judge=judge,
    permissions=("alerts.view_channel", "alerts.change_channel"),
)
