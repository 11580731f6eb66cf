"""A model of the guard in a few lines, and random histories of a source to compare it with.

Nothing here is the product's: rows are dictionaries, and time is a number of hours.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

FLOOR = 20
SHARES = {"removed": 0.1, "moved": 0.3, "status": 0.3}  # kinds of change, and how much is too much
DAY = 24.0

Row = tuple[int, str]  # its instance and its status
Rows = dict[int, Row]


@dataclass(frozen=True)
class Published:
    """What a publish changed, and the rows after it. fresh: the count starts again with it."""

    at: float
    counts: Counter[str]
    rows: Rows
    fresh: bool = False


@dataclass
class Model:
    """What readers see, and what was published so far."""

    history: list[Published] = field(default_factory=list)

    @property
    def rows(self) -> Rows:
        return self.history[-1].rows if self.history else {}

    def differences(self, source: Rows) -> Counter[str]:
        both = self.rows.keys() & source.keys()
        return Counter(
            removed=len(self.rows.keys() - source.keys()),
            moved=sum(self.rows[key][0] != source[key][0] for key in both),
            status=sum(self.rows[key][1] != source[key][1] for key in both),
        )

    def holds(self, source: Rows, now: float) -> bool:
        if not self.rows or not source:
            return bool(self.rows)
        since = self.since(now)
        most = max(len(self.rows), len(since[0].rows))
        for kind, count in self.differences(source).items():
            together = count + sum(published.counts[kind] for published in since[1:])
            if count > max(FLOOR, SHARES[kind] * len(self.rows)):
                return True
            if count and together > max(FLOOR, SHARES[kind] * most):
                return True
        return False

    def since(self, now: float) -> list[Published]:
        """The last publish of a day ago, or the last with which the count started, and later."""
        starts = [
            place
            for place, published in enumerate(self.history)
            if published.fresh or published.at <= now - DAY or place == 0
        ]
        return self.history[starts[-1] :]

    def start_again(self) -> None:
        """Begin a new count with the last publish."""
        self.history[-1:] = [replace(last, fresh=True) for last in self.history[-1:]]

    def publish(self, source: Rows, now: float, *, fresh: bool = False) -> None:
        self.history.append(Published(now, self.differences(source), dict(source), fresh))


@dataclass(frozen=True)
class Step:
    """What happens before a run, and whether a person accepts what it holds.

    server: the one that the source is on, which changes now and then.
    """

    now: float
    source: Rows
    server: int
    accepts: bool


def steps(seed: int, count: int = 25, rows: int = 0, *, moves_house: bool = True) -> Iterator[Step]:
    """Yield the random steps of one history: mostly small ones, one after the other."""
    chance = random.Random(seed)
    source: Rows = dict.fromkeys(range(rows or chance.choice([30, 150, 300, 1000])), (1, "Active"))
    now, server = 0.0, 1
    yield Step(now, dict(source), server, accepts=False)
    for _ in range(count):
        now += chance.choice([0.25, 1.0, 1.0, 6.0, 20.0, 30.0])
        before = dict(source)
        _change(chance, source)
        if moves_house and chance.random() < 0.05:
            server += 1
        yield Step(now, dict(source), server, accepts=chance.random() < 0.3)
        if chance.random() < 0.4:
            source = before  # repaired: the next run finds it as it was


def _change(chance: random.Random, source: Rows) -> None:
    what = chance.choice(["nothing", "remove", "replace", "move", "status", "add", "empty"])
    share = chance.choice([0.01, 0.03, 0.05, 0.1, 0.25, 0.6])
    some = chance.sample(sorted(source), int(len(source) * share))
    new = max(source, default=0) + 1
    if what in ("remove", "replace"):
        for key in some:
            del source[key]
    if what in ("replace", "add"):
        source.update({new + place: (1, "Active") for place in range(len(some))})
    if what in ("move", "status"):
        for key in some:
            instance, status = source[key]
            source[key] = (instance + 1, status) if what == "move" else (instance, status + "x")
    if what == "empty" and chance.random() < 0.1:
        source.clear()
