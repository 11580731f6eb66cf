"""The API at the big seed, as ratios to the admin's own JSON view for autocompletion; and an
evaluation of alerts, to the first page.
"""

from __future__ import annotations

from datetime import UTC, datetime

from bench.progress import note
from bench.report.figures import Spread, ratio
from bench.report.results import Bar, Line, Part
from bench.testbed.servers import Testbed
from localfleet.data import large_seed
from localfleet.data.large_seed import Size

AUTOCOMPLETE = "the admin's autocompletion"
FIRST = "freshness, the first request within a second"
FIRST_METRICS = "metrics, the first request within a second"
NOW = "the first page, in the database"
EVALUATION = "evaluation of alerts, in the database"
# What is asked for, and the most that it may take, in times of the baseline's time.
ASKED = {
    "status of a run": 1.0,
    "poll of a run that answers 304": 0.2,
    "freshness of the whole fleet": 2.0,
    "metrics": 4.0,
    FIRST_METRICS: 4.0,  # a lone scraper is always the first
}


def measure(testbed: Testbed, turns: int, size: Size | None = None) -> Part:
    """All requests in turns, by one process with one connection. turns: of each."""
    size = size or Size()
    note(f"{size.instances} instances, {size.runs:,} runs")
    with testbed.own_session(autocommit=False) as session:
        large_seed.fill(session, datetime.now(UTC), size)
        session.commit()
        session.autocommit = True
        session.execute("VACUUM (ANALYZE)")
    note(f"{turns} requests of each kind")
    found: dict[str, dict[str, list[float]]] = testbed.do("requests", {"turns": turns})
    taken, database = found["seconds"], found["database"]
    base = taken[AUTOCOMPLETE]
    lines = [
        Line(who, "", Spread.of(times), ratio(times, of))
        for every, of in ((taken, base), (database, database[NOW]))
        for who, times in every.items()
    ]
    bars = [
        *(Bar(what, most, ratio(taken[what], base).median) for what, most in ASKED.items()),
        Bar(EVALUATION, 1.0, ratio(database[EVALUATION], database[NOW]).median),
    ]
    facts = {
        "fleet": f"{size.instances} instances, {size.tenants:,} tenants, {size.runs:,} runs",
        "measured": "server time of each request, in one process, in turns",
    }
    return Part("api", "API requests", lines, bars, facts)
