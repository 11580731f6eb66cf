"""Writes the tables of docs that the code knows better: `make docs`.

Settings with their ranges, what each role may do, how long each table's rows are kept. A test fails
if a page differs from what this module would write.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

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


TABLES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "activity.md": {"commands": recorded_commands},
    "people.md": {"roles": roles_table},
    "retention.md": {"tables": retention_tables},
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
