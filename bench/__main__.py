"""The Makefile's benchmark commands:

python -m bench run [--rows N] [--out FOLDER] [--no-peers] [--no-fleet]
python -m bench bloat [--rows N] [--syncs N] [--settings "fillfactor = 90"] [--out FOLDER]
python -m bench api [--turns N] [--out FOLDER]
python -m bench models [--rows N] [--turns N] [--out FOLDER]
python -m bench hostile [--rows N] [--out FOLDER]
python -m bench support [--turns N] [--out FOLDER]
python -m bench connections [--rows N] [--turns N] [--out FOLDER]
python -m bench pages [--base COMMIT] [--people N] [--seconds N] [--turns N] [--out FOLDER]
python -m bench commands BASE [--turns N] [--out FOLDER]
python -m bench memory [--minutes N] [--out FOLDER]
python -m bench history [--instances N] [--days N] [--out FOLDER]
python -m bench compare BASE [--rows N] [--turns N] [--fleet]
python -m bench page
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench.comparison import table as comparison_table
from bench.comparison import turns
from bench.errors import BenchError
from bench.measurements import (
    api_requests,
    bloat,
    command_start,
    history,
    hostile,
    many_connections,
    model_catalogue,
    page_load,
    routes,
    support_entry,
    worker_memory,
)
from bench.measurements.fleet_reads import Fleet
from bench.peers.measurement import PeerMeasurement
from bench.report import page, results, table
from bench.report.results import Part
from bench.testbed.directory import Directory
from bench.testbed.instances import Size
from bench.testbed.servers import Testbed, prepared
from localfleet.data.large_seed import Size as Seed
from localfleet.errors import FleetError
from localfleet.processes import stop_signals

MILLION = 1_000_000


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    stop_signals.listen()
    try:
        given.work(given)
    except (BenchError, FleetError) as error:
        print(error, file=sys.stderr)
        return 1
    except stop_signals.Stopped:
        print("Stopped; nothing was kept.", file=sys.stderr)
        return 130
    return 0


def _run(given: argparse.Namespace) -> None:
    with prepared() as testbed:
        part, directory = routes.measure(testbed, given.rows, given.repeats)
        parts = [part]
        if given.peers:
            lines = PeerMeasurement(testbed, directory, given.peer_seconds).lines()
            parts = [replace(part, lines=[*part.lines, *lines])]
        if given.fleet:
            size = Size(given.instances, given.tenants, given.users)
            parts.append(Fleet(testbed, size).measure(given.fleet_repeats))
            parts.append(hostile.measure(testbed, directory))
            parts.append(support_entry.measure(given.support_turns))
        parts = [_described(testbed, part) for part in parts]
    _finish(parts, given.out)


def _bloat(given: argparse.Namespace) -> None:
    with prepared(autovacuum_naptime=bloat.NAPTIME) as testbed:
        part = bloat.measure(testbed, given.rows, given.syncs, given.settings)
        part = _described(testbed, part)
    _finish([part], given.out)


def _api(given: argparse.Namespace) -> None:
    with prepared() as testbed:
        part = _described(testbed, api_requests.measure(testbed, given.turns))
    _finish([part], given.out)


def _models(given: argparse.Namespace) -> None:
    with prepared() as testbed:
        part = model_catalogue.measure(testbed, given.rows, given.turns)
        part = _described(testbed, part)
    _finish([part], given.out)


def _hostile(given: argparse.Namespace) -> None:
    with prepared() as testbed:
        directory = Directory(testbed)
        directory.fill(given.rows)
        part = _described(testbed, hostile.measure(testbed, directory))
    _finish([part], given.out)


def _support(given: argparse.Namespace) -> None:
    part = support_entry.measure(given.turns)
    with prepared() as testbed:
        part = _described(testbed, part)
    _finish([part], given.out)


def _connections(given: argparse.Namespace) -> None:
    with prepared() as testbed:
        part = many_connections.measure(testbed, given.rows, given.turns)
        part = _described(testbed, part)
    _finish([part], given.out)


def _pages(given: argparse.Namespace) -> None:
    size = Seed(tenants=given.rows // 20, routes=given.rows, runs=given.rows // 10)
    with prepared() as testbed:
        part = page_load.measure(
            testbed, given.base, given.people, given.seconds, given.turns, size
        )
        part = _described(testbed, part)
    _finish([part], given.out)


def _commands(given: argparse.Namespace) -> None:
    with prepared() as testbed:
        part = _described(testbed, command_start.measure(testbed, given.base, given.turns))
    _finish([part], given.out)


def _memory(given: argparse.Namespace) -> None:
    part = worker_memory.measure(given.minutes)
    with prepared() as testbed:
        part = _described(testbed, part)
    _finish([part], given.out)


def _history(given: argparse.Namespace) -> None:
    with prepared(autovacuum="off") as testbed:
        part = _described(testbed, history.measure(testbed, given.instances, given.days))
    _finish([part], given.out)


def _page(given: argparse.Namespace) -> None:
    _finish([], given.out)


def _compare(given: argparse.Namespace) -> None:
    words = [f"--{name}={getattr(given, name)}" for name in ("rows", "repeats")]
    if given.fleet:
        words += ["--fleet", f"--fleet-repeats={given.repeats}"]
    found = turns.measure(turns.Plan(given.base, ["run", *words], given.turns))
    comparison_table.show(found, _console())


def _described(testbed: Testbed, part: Part) -> Part:
    with testbed.own_session() as session:
        (version,) = session.execute("SHOW server_version").fetchone() or ("",)
    return replace(part, facts=part.facts | results.machine(version))


def _finish(parts: Sequence[Part], out: Path) -> None:
    kept = out / results.KEPT.name
    results.keep(parts, kept)
    page.write(out / page.PAGE.name, kept)
    table.show(parts, _console())
    print(f"\nKept in {kept} and {out / page.PAGE.name}")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 200)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench")
    words = parser.add_subparsers(dest="word", required=True)
    run = words.add_parser("run", help="routes, other tools and fleet reads")
    run.add_argument("--rows", type=int, default=MILLION)
    run.add_argument("--repeats", type=int, default=5)
    run.add_argument("--peer-seconds", type=float, default=120)
    run.add_argument("--peers", action=argparse.BooleanOptionalAction)
    run.add_argument("--fleet", action=argparse.BooleanOptionalAction)
    for name, usual in (
        ("instances", 100),
        ("tenants", 100),
        ("users", 50),
        ("fleet-repeats", 3),
        ("support-turns", 20),
    ):
        run.add_argument(f"--{name}", type=int, default=usual)
    run.set_defaults(work=_run)
    size = words.add_parser("bloat", help="the table's size after many syncs")
    size.add_argument("--rows", type=int, default=100_000)
    size.add_argument("--syncs", type=int, default=1000)
    size.add_argument("--settings", default="", help="of user_routes, to try others")
    size.set_defaults(work=_bloat)
    api = words.add_parser("api", help="the API at the big seed, by the admin's own JSON view")
    api.add_argument("--turns", type=_at_least_one, default=200, help="of each request")
    api.set_defaults(work=_api)
    models = words.add_parser("models", help="a catalogue of models, by Django's bulk_create")
    models.add_argument("--rows", type=_at_least_one, default=20_000, help="models")
    models.add_argument("--turns", type=_at_least_one, default=9)
    models.set_defaults(work=_models)
    attacked = words.add_parser("hostile", help="memory, whatever an instance sends")
    attacked.add_argument("--rows", type=_at_least_one, default=100_000)
    attacked.set_defaults(work=_hostile)
    support = words.add_parser("support", help="entering a tenant, by a plain sign-in")
    support.add_argument("--turns", type=_at_least_one, default=20, help="of both ways")
    support.set_defaults(work=_support)
    many = words.add_parser("connections", help="connections of a service, all due at once")
    many.add_argument("--rows", type=_at_least_one, default=2_000, help="connections")
    many.add_argument("--turns", type=_at_least_one, default=3)
    many.set_defaults(work=_connections)
    pages = words.add_parser("pages", help="people who read pages, by another commit in turns")
    pages.add_argument("--base", default="", help="the commit to compare with")
    pages.add_argument("--people", type=_at_least_one, default=50)
    pages.add_argument("--seconds", type=_at_least_one, default=20, help="of a turn of either side")
    pages.add_argument("--turns", type=_at_least_one, default=3, help="of both sides")
    pages.add_argument("--rows", type=_at_least_one, default=MILLION, help="routes; the rest too")
    pages.set_defaults(work=_pages)
    started = words.add_parser("commands", help="management commands, by another commit in turns")
    started.add_argument("base", help="the commit to compare with")
    started.add_argument("--turns", type=_at_least_one, default=15, help="of both sides")
    started.set_defaults(work=_commands)
    grown = words.add_parser("memory", help="the workers' memory while all syncs run")
    grown.add_argument("--minutes", type=_at_least_one, default=60)
    grown.set_defaults(work=_memory)
    past = words.add_parser("history", help="the database's size after months of syncs")
    past.add_argument("--instances", type=_at_least_one, default=200)
    past.add_argument("--days", type=_at_least_one, default=90)
    past.set_defaults(work=_history)
    page_only = words.add_parser("page", help="write the page again from what was kept")
    page_only.set_defaults(work=_page)
    measured = (run, size, api, attacked, models, support, many, pages, started, grown, past)
    for word in (*measured, page_only):
        word.add_argument("--out", type=Path, default=results.KEPT.parent)
    _add_compare(words.add_parser("compare", help="another commit's benchmark and ours in turns"))
    return parser


def _add_compare(compare: argparse.ArgumentParser) -> None:
    compare.add_argument("base", help="the commit to compare with")
    compare.add_argument("--rows", type=_at_least_one, default=MILLION)
    compare.add_argument("--turns", type=_at_least_one, default=3, help="of both sides")
    compare.add_argument("--repeats", type=_at_least_one, default=3, help="within a turn")
    compare.add_argument("--fleet", action=argparse.BooleanOptionalAction)
    compare.set_defaults(work=_compare)


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
