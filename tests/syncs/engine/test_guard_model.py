"""The guard's decisions over random histories, compared with a model of a few lines."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from syncs.engine import window
from syncs.engine.guard import CountChange, Limit, Limits, PlannedChange, judge
from syncs.engine.window import Publish, Window
from tests.syncs.engine.guard_model import DAY, FLOOR, SHARES, Model, Step, steps

HISTORIES = 1000
LIMITS = Limits(
    **{
        name: Limit(FLOOR, 100 * SHARES[kind])
        for name, kind in (("removals", "removed"), ("moves", "moved"), ("columns", "status"))
    }
)

NEVER = Limit(10**9, 100)
COUNT_LIMITS = Limits(NEVER, NEVER, NEVER, sums=Limit(20, 30), emptied=Limit(2, 10))

CHANGES: list[Callable[[int], int]] = [
    lambda users: users,
    lambda users: users // 2,
    lambda _: 0,
    lambda users: users + 1,
]


class Product:
    """The guard, given what the database would have."""

    def __init__(self) -> None:
        self._publishes: list[tuple[float, int, Publish]] = []

    def change(self, model: Model, step: Step) -> PlannedChange:
        found = model.differences(step.source)
        return PlannedChange(
            cached=len(model.rows),
            read=len(step.source),
            removed=found["removed"],
            moved=found["moved"],
            by_column={"status": found["status"]},
            window=self._window(step),
        )

    def publish(self, change: PlannedChange, step: Step, *, accepted: bool) -> None:
        publish = Publish(change.read, change.counts, accepted=accepted)
        self._publishes.append((step.now, step.server, publish))

    def _window(self, step: Step) -> Window:
        earlier = [published for published in self._publishes if published[0] <= step.now - DAY]
        lately = self._publishes[len(earlier) :]
        return window.gather(
            Publish(publish.rows, publish.counts, server == step.server, publish.accepted)
            for _, server, publish in [*earlier[-1:], *lately]
        )


def check_nothing_was_lost_unseen(model: Model, now: float) -> None:
    """Of no moment of the last day after which no person decided, more than a tenth is gone."""
    since = model.since(now)
    most = max(len(published.rows) for published in since)
    for published in since:
        lost = len(published.rows.keys() - model.rows.keys())
        assert lost <= max(FLOOR, SHARES["removed"] * most)


def run_history(seed: int) -> Counter[str]:
    """Return how many runs were held and published."""
    model, product, server = Model(), Product(), 1
    outcomes: Counter[str] = Counter()
    for number, step in enumerate(steps(seed)):
        if step.server != server:
            model.start_again()
        server = step.server
        change = product.change(model, step)
        reasons = judge(change, LIMITS)
        told = f"seed {seed}, step {number}: {reasons}"
        assert bool(reasons) is model.holds(step.source, step.now), told
        assert not reasons or change.counts, f"held without a change: {told}"
        outcomes["held" if reasons else "published"] += 1
        if reasons and not step.accepts:
            continue
        product.publish(change, step, accepted=bool(reasons))
        model.publish(step.source, step.now, fresh=bool(reasons))
        check_nothing_was_lost_unseen(model, step.now)
    return outcomes


SOME = [0, *(pytest.param(n, marks=pytest.mark.soak) for n in range(1, HISTORIES // 100))]


@pytest.mark.parametrize("hundred", SOME)
def test_the_guard_decides_like_the_model(hundred: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(hundred * 100, hundred * 100 + 100):
        outcomes += run_history(seed)
    assert min(outcomes["held"], outcomes["published"]) > 500, "the histories show too little"


def collapses(now: int, lately: list[int], limit: Limit) -> bool:
    """Whether a number falls, and too far from what it was last or at its highest."""
    return now < lately[-1] and any(
        there - now > max(limit.floor, limit.percent / 100 * there)
        for there in (lately[-1], max(lately))
    )


def run_counts(seed: int) -> Counter[str]:
    """Run a history of counts. Every tenant stays; the number of its users changes."""
    chance = random.Random(seed)
    users = [chance.randint(0, 9) for _ in range(chance.choice([5, 40, 200]))]
    published = [(0.0, users, Publish(len(users)))]
    outcomes: Counter[str] = Counter()
    now = 0.0
    for number in range(25):
        now += chance.choice([0.25, 1.0, 6.0, 20.0])
        shown = published[-1][1]
        users = change_users(chance, shown)
        since = published[
            max(
                place
                for place, (at, _, publish) in enumerate(published)
                if place == 0 or at <= now - DAY or publish.accepted
            ) :
        ]
        emptied = having(shown) - having(users)
        count = CountChange("users", sum(shown), sum(users), having(shown), emptied)
        change = PlannedChange(
            cached=len(shown),
            read=len(shown),
            removed=0,
            counted=(count,),
            window=window.gather(publish for _, _, publish in since),
        )
        reasons = judge(change, COUNT_LIMITS)
        lately = [there for _, there, _ in since]
        expected = collapses(sum(users), [*map(sum, lately)], COUNT_LIMITS.sums) or collapses(
            having(users), [*map(having, lately)], COUNT_LIMITS.emptied
        )
        assert bool(reasons) is expected, f"seed {seed}, step {number}: {reasons}"
        outcomes["held" if reasons else "published"] += 1
        if not reasons or chance.random() < 0.3:
            publish = Publish(len(users), change.counts, accepted=bool(reasons))
            published.append((now, users, publish))
    return outcomes


def having(users: list[int]) -> int:
    """How many tenants have any."""
    return sum(map(bool, users))


def change_users(chance: random.Random, users: list[int]) -> list[int]:
    """Let none, some or most tenants have fewer, no or more users."""
    change = chance.choice(CHANGES)
    share = chance.choice([0.02, 0.1, 0.5])
    return [change(count) if chance.random() < share else count for count in users]


@pytest.mark.parametrize("hundred", SOME)
def test_counts_are_judged_like_the_model(hundred: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(hundred * 100, hundred * 100 + 100):
        outcomes += run_counts(seed)
    assert min(outcomes["held"], outcomes["published"]) > 300, "the histories show too little"
