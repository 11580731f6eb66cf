"""A hundred instances: summaries and ghost users, compared with one statement after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from bench.errors import BenchError
from bench.measurements import floors, one_by_one
from bench.progress import note
from bench.report.figures import Spread, ratio
from bench.report.results import Bar, Line, Part
from bench.testbed import instances
from bench.testbed.instances import Place, Size
from bench.testbed.proxy import proxy
from bench.testbed.servers import Testbed
from localfleet.demo.state import OWN_DATABASE
from localfleet.network import black_hole

ADMINS = 50
ROUND_TRIP = 0.01
AWAY_SECONDS = 5  # RAINBO_CONNECT_TIMEOUT: what an instance that never answers costs
FAR_PART = 0.03  # of the instances that the naive way is measured on over a long round trip
NAIVE = "one statement after the other"

Timed = Callable[[], float]


class Fleet:
    def __init__(self, testbed: Testbed, size: Size) -> None:
        self.testbed = testbed
        self.size = size
        note(f"{size.instances} instances of {size.tenants} × {size.users}")
        self.places = instances.build(testbed, size)
        self.admins: list[int] = testbed.do("admins", {"count": ADMINS})["ids"]
        self.memory = 0.0

    def measure(self, repeats: int) -> Part:
        near = self._near(repeats)
        away = self._with_one_away(repeats, near[0][0])
        ghosts = self._ghosts(repeats)
        visits = self.visits(repeats)
        far = self._far(repeats)
        pairs = [near, away, ghosts, visits, far]
        facts = {
            "instances": f"{self.size.instances}",
            "tenants": f"{self.size.tenants} on each, {self.size.users} users in each",
            "admins": f"{len(self.admins)}",
        }
        lines = [line for found, _ in pairs for line in found]
        bars = [bar for _, found in pairs for bar in found]
        return Part("fleet", "Fleet reads", lines, bars, facts)

    def _near(self, repeats: int) -> tuple[list[Line], list[Bar]]:
        note("summaries on loopback")
        self._register(self.places)
        self._summaries()  # instances are met for the first time once only
        ours, theirs = self._in_turns(
            self._summaries, lambda: one_by_one.summaries(self.testbed, self.places), repeats
        )
        what = "tenant summaries, loopback"
        faster = ratio(theirs, ours)
        return (
            [
                replace(self._line(what, ours, theirs), memory=self.memory),
                Line(NAIVE, what, Spread.of(theirs), ratio(theirs, theirs)),
            ],
            [Bar("summaries on loopback, times faster", 11, faster.median, at_least=True)],
        )

    def _far(self, repeats: int) -> tuple[list[Line], list[Bar]]:
        """Through proxies; the naive way on a part of the instances, scaled to all."""
        with self._far_places() as far:
            trip = _round_trip(far[0])
            note(f"summaries at a round trip of {trip * 1000:.1f} ms")
            self._register(far)
            self._summaries()
            some = far[: max(1, round(len(far) * FAR_PART))]
            scale = len(far) / len(some)
            ours, theirs = self._in_turns(
                self._summaries, lambda: one_by_one.summaries(self.testbed, some) * scale, repeats
            )
        what = f"tenant summaries, round trip of {trip * 1000:.1f} ms"
        note_text = f"measured on {len(some)} instances, times {scale:.1f}"
        return (
            [
                self._line(what, ours, theirs),
                Line(NAIVE, what, Spread.of(theirs), ratio(theirs, theirs), note=note_text),
            ],
            [
                Bar(
                    "summaries with a round trip of 10 ms, times faster",
                    150,
                    ratio(theirs, ours).median,
                    at_least=True,
                )
            ],
        )

    def _with_one_away(self, repeats: int, usual: Line) -> tuple[list[Line], list[Bar]]:
        """One instance takes connections and never answers."""
        note("summaries with one instance that never answers")
        with black_hole() as (_, port):
            self._register([*self.places[:-1], self.places[-1].through(port)])
            taken = []
            for _ in range(repeats):
                found = self._sync("tenant_summaries", states=("partial",))
                if found["done"] != len(self.places) - 1:
                    raise BenchError(f"only {found['done']} instances were read")
                taken.append(found["seconds"])
        self._register(self.places)
        allowed = 1.2 * (usual.seconds.median if usual.seconds else 0) + AWAY_SECONDS
        what = "tenant summaries, one instance black-holed"
        note_text = f"the others are published; its own deadline is {AWAY_SECONDS} s"
        line = Line("RAINBO", what, Spread.of(taken), note=note_text)
        words = "summaries with one instance black-holed, at most 1.2 × + its deadline"
        return [line], [Bar(words, allowed, line.seconds.median if line.seconds else 0, "s")]

    def _ghosts(self, repeats: int) -> tuple[list[Line], list[Bar]]:
        """Each time all ghost users are new."""
        note("ghost users")

        def ours_once() -> float:
            self._remove_ghosts()
            found = self._sync("ghost_users")
            if found["added"] != len(self.admins) * len(self.places):
                raise BenchError(f"only {found['added']} ghost users were made")
            return float(found["seconds"])

        def naive_once() -> float:
            self._remove_ghosts()
            return one_by_one.ghosts(self.places, self.admins)

        ours, theirs = self._in_turns(ours_once, naive_once, repeats)
        self._remove_ghosts()
        what = f"{len(self.admins)} ghost users on each instance"
        return (
            [
                self._line(what, ours, theirs),
                Line(NAIVE, what, Spread.of(theirs), ratio(theirs, theirs)),
                floors.of_fleet(self.places, repeats),
            ],
            [Bar("ghost users, times faster", 4.5, ratio(theirs, ours).median, at_least=True)],
        )

    def visits(self, repeats: int) -> tuple[list[Line], list[Bar]]:
        """A mere visit of each, by SCRAM keys and by passwords in turns, each in a new process."""
        note("mere visits")
        self._register(self.places)
        self._sync("instance_health")  # which stores the keys
        found: dict[str, list[dict[str, Any]]] = {"on": [], "off": []}
        for _ in range(repeats):
            for keys in ("off", "on"):
                found[keys].append(self._sync("instance_health", RAINBO_SCRAM_KEYS=keys))
        what = "a mere visit of each (instance_health)"
        lines, taken = [], {}
        for keys, how in (("on", "by SCRAM keys"), ("off", "by passwords")):
            taken[keys] = [float(one["processor"]) for one in found[keys]]
            of = Spread.of(taken[keys])
            work = f"processor time {of.median:.2f} s ({of.least:.2f} to {of.most:.2f})"
            seconds = Spread.of(float(one["seconds"]) for one in found[keys])
            lines.append(Line("RAINBO", f"{what}, {how}", seconds, note=work))
        less = ratio(taken["on"], taken["off"])
        note(f"processor time by keys, of that by passwords: {less}")
        words = "processor time of a mere visit by SCRAM keys, of that by passwords"
        return lines, [Bar(words, 0.5, less.median)]

    def _line(self, what: str, ours: list[float], theirs: list[float]) -> Line:
        return Line("RAINBO", what, Spread.of(ours), ratio(ours, theirs))

    def _in_turns(
        self, ours: Timed, theirs: Timed, repeats: int
    ) -> tuple[list[float], list[float]]:
        pairs = [(theirs(), ours()) for _ in range(repeats)]
        note(", ".join(f"{mine:.2f} s against {other:.1f} s" for other, mine in pairs))
        return [mine for _, mine in pairs], [other for other, _ in pairs]

    def _summaries(self) -> float:
        found = self._sync("tenant_summaries")
        if found["read"] != self.size.instances * self.size.tenants:
            raise BenchError(f"only {found['read']} tenants were read")
        self.memory = max(self.memory, found["peak_mb"])
        return float(found["seconds"])

    def _sync(
        self, name: str, states: Sequence[str] = ("succeeded",), **env: str
    ) -> dict[str, Any]:
        env |= {"RAINBO_CONNECT_TIMEOUT": str(AWAY_SECONDS)}
        found = self.testbed.do("sync", {"sync": name}, **env)
        if found["state"] not in states:
            raise BenchError(f"{name} ended as {found['state']}: {found['errors']}")
        return found

    def _register(self, places: Sequence[Place]) -> None:
        instances.register(self.testbed, places)

    def _remove_ghosts(self) -> None:
        for place in self.places:
            with place.server.connect(place.database) as session:
                session.execute("DELETE FROM users WHERE is_ghost_admin")
        with self.testbed.own.connect(OWN_DATABASE) as own:
            own.execute("TRUNCATE ghost_users")

    @contextmanager
    def _far_places(self) -> Iterator[list[Place]]:
        with ExitStack() as stack:
            ports = {
                server.name: stack.enter_context(proxy(server.port, ROUND_TRIP)).port
                for server in (self.testbed.master, self.testbed.second)
            }
            yield [place.through(ports[place.server.name]) for place in self.places]


def _round_trip(place: Place) -> float:
    """As a session sees it."""
    with place.connect() as session:
        taken = []
        for _ in range(20):
            started = time.monotonic()
            session.execute("SELECT 1")
            taken.append(time.monotonic() - started)
    return statistics.median(taken)
