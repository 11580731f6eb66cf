"""What is wrong with the channels: one is failing, or is gone, or messages stay in the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import OuterRef, Q, Subquery

from alerts.models import UNSENT, Channel, Delivery, RequestedMail
from common import text
from common.clock import from_iso
from common.joint_query import Answers, Questions, as_model
from syncs.status.problems import Link, Problem, Severity, Source

MOST_MAILS = 1_000  # that are counted
STUCK_AFTER = timedelta(minutes=10)
READ = (
    *("id", "name", "kind", "enabled", "level", "syncs", "instances", "groups"),
    *("labels", "failing_since", "last_error", "gone_at"),
)


@dataclass(frozen=True)
class FailingChannel:
    pk: str
    name: str
    since: datetime
    error: str
    is_gone: bool


@dataclass(frozen=True)
class ChannelFacts:
    """channels: all of them, without what is secret of them.

    due_since: since when the oldest delivery that nobody has tried yet should be sent.
    mails: how many mails that apps asked for are failing, or were given up in a day. mail_error: of
    the last.
    """

    now: datetime
    channels: tuple[Channel, ...] = ()
    failing: tuple[FailingChannel, ...] = ()
    due_since: datetime | None = None
    mails: int = 0
    mail_error: str = ""


def ask(now: datetime) -> Questions:
    of_channel = Delivery.objects.filter(UNSENT, channel=OuterRef("pk"), attempts=0)
    due = of_channel.filter(not_before__lte=now).order_by("not_before").values("not_before")[:1]
    mails = RequestedMail.objects.filter(
        Q(UNSENT) | Q(given_up_at__gt=now - timedelta(days=1)), ~Q(error=""), attempts__gt=0
    )
    return {
        "channels": Channel.objects.order_by("name").values(*READ, due=Subquery(due)),
        "requested_mails": mails.order_by("-not_before").values("error")[:MOST_MAILS],
    }


def read(answers: Answers, now: datetime) -> ChannelFacts:
    channels, failing, waiting = [], [], []
    for row in answers["channels"]:
        channel, due = as_model(Channel, row), from_iso(row["due"])
        channels.append(channel)
        if channel.enabled and channel.failing_since:
            failing.append(_failing(channel, channel.failing_since))
        if channel.is_usable and due:
            waiting.append(due)
    mails = [row["error"] for row in answers["requested_mails"]]
    return ChannelFacts(
        now,
        tuple(channels),
        tuple(failing),
        min(waiting, default=None),
        len(mails),
        next(iter(mails), ""),
    )


def _failing(channel: Channel, since: datetime) -> FailingChannel:
    is_gone = channel.gone_at is not None
    return FailingChannel(str(channel.pk), channel.name, since, channel.last_error, is_gone)


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
    if facts.mails:
        mails = text.counted(facts.mails, "mail")
        yield Problem(
            key="requested mails",
            severity=Severity.CHANNEL_FAILING,
            cause="mails not sent",
            text=f"{mails} to contacts of tenants can't be sent: {text.truncate(facts.mail_error)}",
            link=Link("channels"),
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
    ask=ask,
    read=read,
    judge=judge,
    permissions=("alerts.view_channel", "alerts.change_channel"),
)
