"""`make matrix`: tries all pairs of versions, and writes the table of docs/postgresql-versions.md.

Exit code 1 if a pair failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from localfleet.folders import CHECKOUT
from tests.matrix import builds
from tests.matrix.builds import Build

PAGE = CHECKOUT / "docs" / "postgresql-versions.md"
BEGIN, END = "<!-- written by make matrix -->\n", "<!-- end -->\n"
WORKED, FELL_BACK, FAILED = "works", "works, reads in full", "**fails**"

Results = dict[tuple[str, str], str]


def main() -> int:
    found = builds.find()
    results = {pair: way for own in found for pair, way in try_masters(own, found).items()}
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    text = "".join((before, BEGIN, table(found, results), END, after))
    PAGE.write_text(text, encoding="utf-8")
    bad = [f"{own} × {master}" for (own, master), way in results.items() if way != WORKED]
    print(f"{len(results)} pairs tried; not as they should be: {', '.join(bad) or 'none'}")
    return 1 if bad else 0


def try_masters(own: Build, masters: Sequence[Build]) -> Results:
    """Run the test of all masters with RAINBO's own database on one build."""
    print(f"Own database on PostgreSQL {own.name}", flush=True)
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as results:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "matrix", "tests/matrix"],
            cwd=CHECKOUT,
            env=os.environ
            | {
                "RAINBO_PG_BIN": str(own.bin_folder),
                "MATRIX_MASTERS": json.dumps({m.name: str(m.bin_folder) for m in masters}),
                "MATRIX_RESULTS": results.name,
            },
            check=False,
        )
        lines = [json.loads(line) for line in Path(results.name).read_text().splitlines()]
    for line in lines:
        assert line["own"].split()[0] == own.name.split(",")[0], "another server answered"
    done = {line["master"]: FELL_BACK if line["fell_back"] else WORKED for line in lines}
    return {(own.name, master.name): done.get(master.name, FAILED) for master in masters}


def table(found: Sequence[Build], results: Results) -> str:
    """Return the table: a row for each build of the own database, a column for each master's."""
    names = [build.name for build in found]
    rows = [
        ["own database \\ master", *names],
        ["---"] * (len(names) + 1),
        *([f"**{own}**", *(results[own, master] for master in names)] for own in names),
    ]
    lines = "".join(f"| {' | '.join(cells)} |\n" for cells in rows)
    return f"\n{lines}\n{len(results)} pairs, tried on {datetime.now(UTC):%Y-%m-%d}.\n\n"


if __name__ == "__main__":
    sys.exit(main())
