"""What is wrong with the channels: one is failing, or is gone, or messages stay in the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, OuterRef, Q, Subquery

from alerts.models import (
    EVALUATION,
    GIVES_UP_AFTER,
    STUCK_AFTER,
    UNSENT,
    Channel,
    Delivery,
    RequestedMail,
)
from common import text
from common.clock import from_iso
from common.joint_query import Answers, Questions, as_model
from syncs import hooks
from syncs.status.problems import Link, Problem, Severity, Source

MOST_MAILS = 1_000  # that are counted
DAY = timedelta(days=1)  # for which what was given up is a problem
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
class MissedMessages:
    """How many a channel did not take in the last day, although it may take others by now."""

    pk: str
    name: str
    count: int
    error: str


@dataclass(frozen=True)
class ChannelFacts:
    """channels: all of them, without what is secret of them. working: how many of those that are
    enabled are not failing. due_since: since when a message should be sent that nobody sends.
    evaluated_at: when an evaluation ended last; None before the first. mails: how many mails that
    apps asked for are failing, or were given up in a day. mail_error: of the last.
    """

    now: datetime
    channels: tuple[Channel, ...] = ()
    failing: tuple[FailingChannel, ...] = ()
    missed: tuple[MissedMessages, ...] = ()
    working: int = 0
    due_since: datetime | None = None
    evaluated_at: datetime | None = None
    mails: int = 0
    mail_error: str = ""

    @property
    def all_failing_since(self) -> datetime | None:
        """Since when no channel has taken messages; None if one does or there is none."""
        return None if self.working else max((one.since for one in self.failing), default=None)


def ask(now: datetime) -> Questions:
    """The first unsent message of a channel counts: the others wait for it."""
    of_channel = Delivery.objects.filter(UNSENT, channel=OuterRef("pk")).order_by("created_at")
    due = Subquery(of_channel.values("not_before")[:1])
    given_up = Delivery.objects.filter(
        ~Q(error=""),
        channel=OuterRef("pk"),
        created_at__gt=now - DAY - GIVES_UP_AFTER,
        given_up_at__gt=now - DAY,
    )
    missed = given_up.order_by().values("channel").annotate(count=Count("pk"))
    why = given_up.order_by("-given_up_at").values("error")[:1]
    mails = RequestedMail.objects.filter(
        Q(UNSENT) | Q(given_up_at__gt=now - DAY), ~Q(error=""), attempts__gt=0
    )
    return {
        "channels": Channel.objects.order_by("name").values(
            *READ, due=due, missed=Subquery(missed.values("count")), missed_error=Subquery(why)
        ),
        "evaluated": hooks.noted(EVALUATION).values("claimed_at"),
        "requested_mails": mails.order_by("-not_before").values("error")[:MOST_MAILS],
    }


def read(answers: Answers, now: datetime) -> ChannelFacts:
    channels, failing, missed, waiting, working = [], [], [], [], 0
    for row in answers["channels"]:
        channel, due = as_model(Channel, row), from_iso(row["due"])
        channels.append(channel)
        since = channel.failing_since or channel.gone_at
        if channel.enabled and since:
            failing.append(_failing(channel, since))
        elif channel.enabled and row["missed"]:
            known = (str(channel.pk), channel.name, row["missed"], row["missed_error"])
            missed.append(MissedMessages(*known))
        working += channel.enabled and not since
        if channel.is_usable and due and due <= now:
            waiting.append(due)
    evaluated = answers["evaluated"]
    mails = [row["error"] for row in answers["requested_mails"]]
    return ChannelFacts(
        now=now,
        channels=tuple(channels),
        failing=tuple(failing),
        missed=tuple(missed),
        working=working,
        due_since=min(waiting, default=None),
        evaluated_at=from_iso(evaluated[0]["claimed_at"]) if evaluated else None,
        mails=len(mails),
        mail_error=next(iter(mails), ""),
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
    for one in facts.missed:
        messages = text.counted(one.count, "message")
        yield Problem(
            key=f"channel/{one.pk}",
            severity=Severity.CHANNEL_FAILING,
            cause="messages not taken",
            text=f"channel {one.name} did not take {messages} in the last day: "
            f"{text.truncate(one.error)}",
            link=Link("channel", one.pk),
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
    ask=ask,
    read=read,
    judge=judge,
    permissions=("alerts.view_channel", "alerts.change_channel"),
)
