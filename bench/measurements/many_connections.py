"""Thousands of connections of one service that are due at once, while nothing has changed."""

from __future__ import annotations

from typing import Any

from bench.progress import note
from bench.report.figures import Spread, ratio
from bench.report.results import Bar, Line, Part
from bench.testbed.servers import Testbed
from localfleet.services.github import GitHub
from localfleet.services.server import Asked, Reply, running

LATENCY = 0.05  # seconds of each answer
PAGES = 3  # that each connection asks for
AT_ONCE = 8
SLOWEST, FASTER = 1.3, 6.0  # times what latency and concurrency allow; times one after another
MEMORY, STATEMENTS, STATE_ROWS = 150, 6, 4  # MiB; of each connection
FEW = 20  # of them are also fetched one after another: one in so many
RECORDS = ("integrations_externalrecord", "integrations_recordchange")
OF_RUN = ("syncs_syncrun", "syncs_lease", "django_q_ormq")  # not of its connections
Found = dict[str, Any]  # what a task answered


class Eager(GitHub):
    """Doesn't mind to be asked for notifications at any time."""

    def answer(self, asked: Asked) -> Reply:
        reply = super().answer(asked)
        if "X-Poll-Interval" in reply.headers:
            reply.headers["X-Poll-Interval"] = "0"
        return reply


def measure(testbed: Testbed, count: int, turns: int) -> Part:
    """Together and one after another in turns, by one process; as workers do, from the look on.

    Rows of the run itself, and of its lease, are no connection's: they are among the facts alone.
    """
    service = Eager()
    service.add_repository("home")
    service.add_issue("one")
    service.add_notification("you")
    private = {"RAINBO_HTTP_PRIVATE_HOSTS": "127.0.0.1"}
    few = max(count // FEW, 1)
    together, alone = [], []
    with running(service), testbed.doing("connections", **private) as child:
        child({"do": "connect", "url": service.url, "count": count})
        first = child({"do": "fetch", "count": count, "at_once": AT_ONCE})
        note(f"{count:,} connections: the first run took {first['seconds']:.1f} s")
        service.latency = LATENCY
        for _ in range(turns):
            asked = len(service.asked)
            together.append(child({"do": "fetch", "count": count, "at_once": AT_ONCE}))
            pages = (len(service.asked) - asked) / count
            alone.append(child({"do": "fetch", "count": few, "at_once": 1}))
            note(f"{together[-1]['seconds']:.1f} s; {pages:g} requests of each connection")
    return _part(count, few, together, alone, together[-1]["peak_mb"])


def _of_connections(written: dict[str, int]) -> int:
    return sum(rows for name, rows in written.items() if name not in OF_RUN)


def _part(count: int, few: int, together: list[Found], alone: list[Found], peak: float) -> Part:
    ideal = count * PAGES * LATENCY / AT_ONCE
    seconds = [one["seconds"] for one in together]
    slow = [one["seconds"] * count / few for one in alone]
    of_ideal, faster = ratio(seconds, [ideal] * len(seconds)), ratio(slow, seconds)
    records = sum(one["written"].get(name, 0) for one in together for name in RECORDS)
    state = max(_of_connections(one["written"]) for one in together) / count
    processor = max(one["processor"] for one in together) / count
    statements = max(one["statements"] for one in together) / count
    lines = [
        Line("RAINBO", f"{count:,} connections", Spread.of(seconds), of_ideal, memory=peak),
        Line(
            "RAINBO",
            "one after another",
            Spread.of(slow),
            ratio(slow, [ideal] * len(slow)),
            note=f"{few:,} of them, scaled up",
        ),
    ]
    bars = [
        Bar("many connections, by what latency and concurrency allow", SLOWEST, of_ideal.median),
        Bar("one after another, by that time", FASTER, faster.median, at_least=True),
        Bar("memory at its peak", MEMORY, peak, "MiB"),
        Bar("statements of each connection", STATEMENTS, statements, ""),
        Bar("rows of records written, while nothing changed", 0, records, "rows"),
        Bar("rows of state written, of each connection", STATE_ROWS, state, "rows"),
    ]
    facts = {
        "connections": f"{count:,} due at once, {PAGES} requests each",
        "service": f"a server on this machine that answers after {LATENCY * 1000:g} ms",
        "processor time": f"{processor * 1000:.1f} ms of RAINBO's process for each connection",
        "tables": ", ".join(f"{name} {rows:,}" for name, rows in together[-1]["written"].items()),
    }
    return Part("connections", "Many connections", lines, bars, facts)
