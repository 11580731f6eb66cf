"""The words of the Makefile that measure:

python -m bench run [--rows N] [--out FOLDER] [--no-peers] [--no-fleet]
python -m bench bloat [--rows N] [--syncs N] [--settings "fillfactor = 90"] [--out FOLDER]
python -m bench page
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.errors import BenchError
from bench.measurements import bloat, routes
from bench.measurements.fleet_reads import Fleet
from bench.peers.measurement import Race
from bench.report import page, results, table
from bench.report.results import Part
from bench.testbed.instances import Size
from bench.testbed.servers import Ground, prepared
from localfleet.errors import FleetError
from localfleet.processes import stop_signals

MILLION = 1_000_000


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    stop_signals.listen()
    try:
        parts = given.work(given)
    except (BenchError, FleetError) as error:
        print(error, file=sys.stderr)
        return 1
    except stop_signals.Stopped:
        print("Stopped; nothing was kept.", file=sys.stderr)
        return 130
    _finish(parts, given.out)
    return 0


def _run(given: argparse.Namespace) -> list[Part]:
    with prepared() as ground:
        part, directory = routes.measure(ground, given.rows, given.repeats)
        parts = [part]
        if given.peers:
            lines = Race(ground, directory, given.peer_seconds).lines()
            parts = [replace(part, lines=[*part.lines, *lines])]
        if given.fleet:
            size = Size(given.instances, given.tenants, given.users)
            parts.append(Fleet(ground, size).measure(given.fleet_repeats))
        return [_described(ground, part) for part in parts]


def _bloat(given: argparse.Namespace) -> list[Part]:
    with prepared(autovacuum_naptime=bloat.NAPTIME) as ground:
        part = bloat.measure(ground, given.rows, given.syncs, given.settings)
        return [_described(ground, part)]


def _page(_: argparse.Namespace) -> list[Part]:
    return []


def _described(ground: Ground, part: Part) -> Part:
    with ground.own_session() as session:
        (version,) = session.execute("SHOW server_version").fetchone() or ("",)
    return replace(part, facts=part.facts | results.machine(version))


def _finish(parts: Sequence[Part], out: Path) -> None:
    kept = out / results.KEPT.name
    results.keep(parts, kept)
    page.write(out / page.PAGE.name, kept)
    table.show(parts, Console(width=None if sys.stdout.isatty() else 200))
    print(f"\nKept in {kept} and {out / page.PAGE.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench")
    words = parser.add_subparsers(dest="word", required=True)
    run = words.add_parser("run", help="routes, other tools and fleet reads")
    run.add_argument("--rows", type=int, default=MILLION)
    run.add_argument("--repeats", type=int, default=5)
    run.add_argument("--peer-seconds", type=float, default=120)
    run.add_argument("--peers", action=argparse.BooleanOptionalAction)
    run.add_argument("--fleet", action=argparse.BooleanOptionalAction)
    for name, usual in (("instances", 100), ("tenants", 100), ("users", 50), ("fleet-repeats", 3)):
        run.add_argument(f"--{name}", type=int, default=usual)
    run.set_defaults(work=_run)
    size = words.add_parser("bloat", help="the table's size after many syncs")
    size.add_argument("--rows", type=int, default=100_000)
    size.add_argument("--syncs", type=int, default=1000)
    size.add_argument("--settings", default="", help="of user_routes, to try others")
    size.set_defaults(work=_bloat)
    words.add_parser("page", help="write the page anew").set_defaults(work=_page)
    for word in words.choices.values():
        word.add_argument("--out", type=Path, default=results.KEPT.parent)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
