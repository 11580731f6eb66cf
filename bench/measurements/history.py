"""How large RAINBO's own database gets with the history of a fleet, and when it stops growing."""

from __future__ import annotations

from bench.progress import note
from bench.report.figures import Spread
from bench.report.results import Bar, Line, Part
from bench.testbed.servers import Testbed

TENANTS = 20  # of each instance
MOST_MB = 500  # at 200 instances and 90 days
TOLD_EVERY = 4
_SIZE = "SELECT pg_database_size(current_database())"
_TABLES = """
    SELECT relname, pg_total_relation_size(oid), reltuples::bigint FROM pg_class
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
       AND pg_total_relation_size(oid) > 2000000
     ORDER BY 2 DESC"""


def measure(testbed: Testbed, instances: int, days: int) -> Part:
    """Live through days of syncs by half days: what each leaves behind, and what then goes."""
    sizes, seconds = [], []
    with testbed.doing("history") as child, testbed.own_session() as own:
        child({"do": "register", "instances": instances, "tenants": TENANTS})
        for half_day in range(1, 2 * days + 1):
            done = child({"do": "live", "half_day": half_day, "instances": instances})
            seconds.append(done["seconds"])
            own.execute("VACUUM (ANALYZE)")  # as autovacuum would have done in half a day
            sizes.append((own.execute(_SIZE).fetchone() or (0,))[0])
            if half_day % TOLD_EVERY == 0 or half_day == 2 * days:
                largest = ", ".join(
                    f"{name} {size / 1e6:.0f}" for name, size, _ in own.execute(_TABLES).fetchall()
                )
                note(f"day {half_day // 2}: {sizes[-1] / 1e6:.0f} MB: {largest}")
        tables = own.execute(_TABLES).fetchall()
    lines = [Line("RAINBO", "rolling up and deleting, of half a day", Spread.of(seconds))]
    lines += [
        Line("RAINBO", name, written=rows, note=f"{size / 1e6:.1f} MB with its indexes")
        for name, size, rows in tables
    ]
    bars = [
        Bar("RAINBO's own database after that time", MOST_MB, sizes[-1] / 1e6, "MB"),
        Bar("the same at its largest", MOST_MB, max(sizes) / 1e6, "MB"),
    ]
    facts = {
        "instances": f"{instances:,}, {TENANTS} tenants each; 2 % are down, others now and then",
        "days": f"{days}, at the default schedules and retentions",
    }
    return Part("history", "The history of a fleet", lines, bars, facts)
