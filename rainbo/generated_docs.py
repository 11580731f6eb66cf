"""Writes the tables of docs that the code knows better: `make docs`.

Settings with their ranges, what each role may do, how long each table's rows are kept, what taking
a migration back loses, and what the benchmarks say about capacity. A test fails if a page differs
from what this module would write.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import django

DOCS = Path(__file__).parents[1] / "docs"
ROW = re.compile(r"^\| `(RAINBO_\w+|PRICING_\w+)` \| (.*?) \| (?:.*? \| )?(.*) \|$", re.MULTILINE)
HEAD = re.compile(r"^\| variable \| default \| (?:values \| )?meaning \|\n\|[-|]+\|$", re.MULTILINE)
HEADING = "| variable | default | values | meaning |\n|---|---|---|---|"


def settings_page(text: str) -> str:
    """Fill in the column of values; defaults and meanings are written by hand."""
    from rainbo.settings import env

    def row(found: re.Match[str]) -> str:
        name, default, meaning = found.groups()
        values = env.ranges.get(name) or "–"
        return f"| `{name}` | {default} | {values} | {meaning} |"

    return ROW.sub(row, HEAD.sub(HEADING, text))


def roles_table() -> str:
    from rainbo.auth.roles import MEANINGS, ROLES

    lines = [f"| permission to | {' | '.join(f'`{role}`' for role in ROLES)} |"]
    lines.append("|---" * (1 + len(ROLES)) + "|")
    for meaning, permissions in MEANINGS.items():
        has = ["yes" if {*permissions} <= {*given} else "–" for given in ROLES.values()]
        lines.append(f"| {meaning} | {' | '.join(has)} |")
    return "\n".join(lines)


def retention_tables() -> str:
    from rainbo.retention import rows

    lines = ["| table | rows | kept for | counted from |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows())])


def recorded_commands() -> str:
    """The commands that write to the audit log, by what their files call."""
    files = DOCS.parent.glob("*/management/commands/*.py")
    found = sorted(
        path.stem
        for path in files
        if re.search(r"record_by\(|adoption\.adopt\(", path.read_text(encoding="utf-8"))
    )
    return ", ".join(f"`{name}`" for name in found) + "."


def migrations_table() -> str:
    """Each migration of ours with what taking it back loses."""
    from django.apps import apps
    from django.db.migrations.loader import MigrationLoader

    known = MigrationLoader(None).disk_migrations
    own = {app.label for app in apps.get_app_configs() if Path(app.path).parent == DOCS.parent}
    lines = ["| migration | can be taken back | which loses |", "|---|---|---|"]
    for app, name in sorted(key for key in known if key[0] in own):
        operations = known[app, name].operations
        back = "yes" if all(o.reversible for o in operations) else "**no**: restore the backup"
        lines.append(f"| `{app} {name}` | {back} | {_lost(operations)} |")
    return "\n".join(lines)


def _lost(operations: Sequence[Any]) -> str:
    """What the reversed operations drop: tables, and columns of tables that were there before."""
    made = {o.name for o in operations if type(o).__name__ == "CreateModel"}
    tables = sorted(f"table of `{name}`" for name in made)
    added = (o for o in operations if type(o).__name__ == "AddField" and o.model_name not in made)
    columns = sorted({f"`{o.model_name}.{o.name}`" for o in added if not _is_in(o, made)})
    return ", ".join([*tables, *columns]) or "nothing"


def _is_in(operation: Any, made: set[str]) -> bool:
    return operation.model_name.lower() in {name.lower() for name in made}


def capacity_table() -> str:
    """What a million routes and a fleet take, by the last measured benchmarks."""
    parts = {
        part["name"]: {(line["who"], line["what"]): line for line in part["lines"]}
        for part in json.loads((DOCS / "benchmarks.json").read_text(encoding="utf-8"))["parts"]
    }
    routes, fleet = parts["routes-001000000"], parts["fleet"]
    sizes = (re.search(r"after ([\d.]+) MB", what) for _, what in parts["bloat"])
    disk = sum(float(found[1]) for found in sizes if found) * 10  # of 100,000 routes
    digests = routes["PostgreSQL alone", "the digests of the source's buckets"]
    summaries = fleet["RAINBO", "tenant summaries, loopback"]
    lines = [
        "| of a million routes | time | sent by the master | WAL, own database | memory |",
        "|---|---|---|---|---|",
    ]
    for what in ("nothing changed", "0.1 % changed", "1 % changed", "first fill"):
        line = routes["RAINBO", what]
        sent, logged = (f"{line[key] / 1e6:.1f} MB" for key in ("wire", "wal"))
        time, memory = line["seconds"]["median"], line["memory"]
        lines.append(f"| sync, {what} | {time:.1f} s | {sent} | {logged} | {memory:.0f} MB |")
    return "\n".join(
        [
            *lines,
            "",
            f"- **Disk**: {disk:.0f} MB for each million routes, with indexes, after many syncs.",
            "- **Load on the master**: a sync in which nothing changed takes one of its processors",
            f"  for {digests['seconds']['median']:.2f} s for each million routes.",
            "- **Load on an instance**: a session and one query for each sync; 100 instances of",
            f"  100 tenants are read in {summaries['seconds']['median']:.1f} s.",
        ]
    )


TABLES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "activity.md": {"commands": recorded_commands},
    "people.md": {"roles": roles_table},
    "retention.md": {"tables": retention_tables},
    "scaling.md": {"capacity": capacity_table},
    "upgrades.md": {"migrations": migrations_table},
}


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page with what it should be."""
    path = DOCS / "settings.md"
    yield path, settings_page(path.read_text(encoding="utf-8"))
    for name, tables in TABLES.items():
        path = DOCS / name
        text = path.read_text(encoding="utf-8")
        for mark, table in tables.items():
            text = _replaced(text, mark, table())
        yield path, text


def _replaced(text: str, mark: str, table: str) -> str:
    begin, end = f"<!-- {mark}: written by `make docs` -->\n", f"<!-- end of {mark} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if not rest or end not in rest:
        raise ValueError(f"the page has no place for {mark}")
    return f"{before}{begin}\n{table}\n\n{end}{after}"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rainbo.settings")
    django.setup()
    for path, text in pages():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
