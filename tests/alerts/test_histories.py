"""Random histories of problems, mutes, refusals and crashes, against what must always be true.

Each seed is one history; `HISTORIES=1000 make soak ARGS="-k alert_histories -n 2"` tries 1,000.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import connection, transaction

from alerts import outbox, rules
from alerts.channels.result import Result
from alerts.models import Channel, Delivery, Incident, IncidentEvent, Mute, Notice
from syncs.status.problems import Severity
from tests.alerts.rows import HOUR, MINUTE, NOW, SECOND, channel, facts, problem, see

pytestmark = pytest.mark.django_db
QUICK = 20
COUNT = int(os.environ.get("HISTORIES", "60"))  # of the soak; with QUICK, 1,020 were run once
SHARE = 10
STEPS = 25
PROBLEMS = (
    problem("workers", Severity.WORKERS_DEAD, ()),
    problem("instance/1/down", affected=("1",)),
    problem("instance/2/down", affected=("2",)),
    problem("sync/user_routing/overdue", Severity.STALE, ("1",)),
    problem("sync/ghost_users/held", Severity.HELD, ("1", "2")),
    problem("sync/ghost_users/failures in a row", Severity.FAILING, ()),
    problem("instance/3/degraded", Severity.DEGRADED, ("3",)),
)
BEGIN = {"opened", "reopened"}


class Crash(BaseException):
    """The process dies here; nothing handles it."""


@dataclass
class History:
    """One history, and every message that arrived in it: (channel, key, kind), in order."""

    seed: int
    now: datetime = NOW
    present: set[str] = field(default_factory=set)
    arrived: list[tuple[str, str, str]] = field(default_factory=list)
    sends: Counter[Any] = field(default_factory=Counter)
    crashes: Counter[Any] = field(default_factory=Counter)
    bad: dict[Any, bool] = field(default_factory=dict)
    uncertain: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.more = random.Random(f"more of {self.seed}")  # the course of a seed stays the same
        for name in ("one", "two"):
            channel(name, per_hour=1_000)

    def play(self) -> None:
        for _ in range(STEPS):
            self.now += self.random.choice((SECOND, 40 * SECOND, 3 * MINUTE, 16 * MINUTE, 5 * HOUR))
            self.change()
            self.evaluate(crash=self.random.random() < 0.15)
            self.send(
                refuse=self.random.random() < 0.2,
                crash=self.random.random() < 0.2,
            )
            self.check()

    def change(self) -> None:
        for one in PROBLEMS:
            if self.random.random() < 0.25:
                self.present ^= {one.key}
        if self.random.random() < 0.15:
            key = self.random.choice(PROBLEMS).key
            until = self.now + self.random.choice((MINUTE, HOUR, 6 * HOUR))
            Mute.objects.update_or_create(
                key=key, defaults={"until": until, "reason": "x", "by": "ann"}
            )

    def evaluate(self, *, crash: bool = False) -> None:
        """crash: at one of its statements; another process then does the same."""
        found = [one for one in PROBLEMS if one.key in self.present]
        with transaction.atomic():
            if self.dies(lambda: see(*found, at=self.now), self.random if crash else None):
                see(*found, at=self.now)

    def send(self, *, refuse: bool = False, crash: bool = False) -> None:
        """crash: at any statement, or between sending a message and storing the result."""
        place = self.more.choice(("gather", "claim", "settle", "between")) if crash else ""
        chance = {place: self.more}
        self.dies(lambda: outbox.gather(self.now), chance.get("gather"))
        claimed: list[Delivery | None] = []
        while not self.dies(lambda: claimed.append(outbox.claim(self.now)), chance.get("claim")):
            if (delivery := claimed.pop()) is None:
                break
            is_bad = self.is_bad(delivery)
            accepts = not (refuse and self.random.random() < 0.5) and not is_bad
            if accepts:
                self.arrive(delivery)
            if place == "between" and self.more.random() < 0.7:
                self.die_with(delivery)
                continue
            result = Result(accepts, "answered", is_refused=is_bad)
            settle = partial(outbox.settle, delivery, result, self.now)
            if self.dies(settle, chance.get("settle")):
                self.die_with(delivery)

    def die_with(self, delivery: Delivery) -> None:
        """Of what is then refused nobody knows whether it arrived: its end is sent."""
        self.crashes[delivery.pk] += 1
        if self.is_bad(delivery):
            keys = [item["key"] for item in delivery.content["incidents"]]
            self.uncertain |= {(str(delivery.channel_id), key) for key in keys}

    def is_bad(self, delivery: Delivery) -> bool:
        """Whether the channel refuses this message whenever it gets it."""
        if delivery.pk not in self.bad:
            self.bad[delivery.pk] = self.more.random() < 0.1
        return self.bad[delivery.pk]

    def dies(self, act: Callable[[], object], chance: random.Random | None) -> bool:
        """Whether the process that does this dies at one of its statements: it is undone then."""
        dies_at = chance.randrange(1, 12) if chance else None
        count = 0

        def dying(execute: Any, *rest: Any) -> Any:
            nonlocal count
            count += 1
            if count == dies_at:
                raise Crash
            return execute(*rest)

        try:
            with transaction.atomic(), connection.execute_wrapper(dying):
                act()
        except Crash:
            return True
        return False

    def arrive(self, delivery: Delivery) -> None:
        is_new = not self.sends[delivery.pk]
        self.sends[delivery.pk] += 1
        muted = set(Mute.objects.filter(until__gt=self.now).values_list("key", flat=True))
        keys = [item["key"] for item in delivery.content["incidents"]]
        assert not muted.intersection(keys), "a message about a muted thing"
        if is_new:
            self.arrived += [
                (str(delivery.channel_id), item["key"], item["kind"])
                for item in delivery.content["incidents"]
            ]

    def check(self) -> None:
        """What is true after every step."""
        open_now = Incident.objects.filter(resolved_at=None).values_list("key", flat=True)
        assert len(set(open_now)) == len(open_now)
        assert self.present <= set(open_now)
        for pk, count in self.sends.items():
            assert count <= 1 + self.crashes[pk], "at most one repetition for each crash"

    def end(self) -> None:
        """All are still there, then none; nobody refuses, crashes or mutes any longer."""
        Mute.objects.all().delete()
        self.now += 16 * MINUTE
        for _ in range(6):  # longer than the longest wait for another attempt, and a reminder
            self.now += 2 * HOUR
            self.evaluate()
            self.send()
        self.check_all_are_known()
        self.present = set()
        for _ in range(6):
            self.now += 10 * MINUTE
            self.evaluate()
            self.send()

    def check_all_are_known(self) -> None:
        """What is wrong and explained by nothing else is the last that each channel got of it."""
        judged = facts(*(one for one in PROBLEMS if one.key in self.present)).problems
        last = {(to, key): kind for to, key, kind in self.arrived}
        for one in judged:
            if rules.cause_of(one, [p for p in judged if p.key != one.key]) is None:
                for row in Channel.objects.all():
                    assert last.get((str(row.pk), one.key), "nothing") not in (
                        "resolved",
                        "nothing",
                    )

    def check_the_end(self) -> None:
        assert not Incident.objects.filter(resolved_at=None).exists()
        assert not Notice.objects.filter(delivery=None, dropped_at=None).exists()
        assert not Delivery.objects.filter(sent_at=None, given_up_at=None).exists()
        self.check_episodes()
        of_key: dict[tuple[str, str], list[str]] = defaultdict(list)
        for to, key, kind in self.arrived:
            of_key[to, key].append(kind)
        for (to, key), kinds in of_key.items():
            assert kinds[0] in BEGIN | {"worse", "reminder"} or (to, key) in self.uncertain
            for before, after in itertools.pairwise(kinds):
                ended_twice = before == after == "resolved"
                assert not ended_twice or (to, key) in self.uncertain, f"{key}: {kinds}"

    def check_episodes(self) -> None:
        """Each incident begins and ends in turns, each once."""
        rows = IncidentEvent.objects.filter(kind__in=[*BEGIN, "resolved"]).order_by("pk")
        course: dict[int, list[str]] = defaultdict(list)
        for incident, kind in rows.values_list("incident", "kind"):
            course[incident].append(kind)
        for kinds in course.values():
            assert kinds[0] == "opened"
            assert all(kind in BEGIN for kind in kinds[::2])
            assert all(kind == "resolved" for kind in kinds[1::2])
            assert len(kinds) % 2 == 0
            assert kinds.count("opened") == 1


def play(seed: int) -> History:
    with pinned_ids(seed):
        history = History(seed)
        history.play()
        history.end()
        history.check_the_end()
    return history


@contextmanager
def pinned_ids(seed: int) -> Iterator[None]:
    """Messages of the same moment are sent in the order of their ids: of a seed always the same."""
    source = random.Random(f"ids of {seed}")

    def new() -> UUID:
        return UUID(int=source.getrandbits(128), version=4)

    with ExitStack() as patches:
        for model in (Channel, Delivery):
            field = model._meta.get_field("id")
            patches.enter_context(patch.object(field, "_get_default", new))
        yield


@pytest.mark.parametrize("seed", range(QUICK))
def test_alert_histories(seed: int) -> None:
    play(seed)


def test_histories_have_all_that_they_are_about() -> None:
    """Else they would prove nothing."""
    history = play(1)
    kinds = {kind for _, _, kind in history.arrived}
    assert {"opened", "resolved", "reopened", "reminder"} <= kinds
    assert sum(history.crashes.values()) > 1
    assert max(history.sends.values()) > 1
    assert Incident.objects.filter(flaps__gt=0).exists()
    assert IncidentEvent.objects.filter(kind="folded").exists()
    assert Notice.objects.filter(dropped_at__isnull=False).exists()
    assert IncidentEvent.objects.filter(kind="not sent").exists()


@pytest.mark.soak
@pytest.mark.timeout(2 * 60 * 60)
@pytest.mark.parametrize("first", range(QUICK, QUICK + COUNT, SHARE))
def test_alert_histories_at_length(first: int) -> None:
    """In shares, so that several processes can take them."""
    for seed in range(first, min(first + SHARE, QUICK + COUNT)):
        with transaction.atomic():
            play(seed)
            transaction.set_rollback(True)
