"""The committed table is of the builds that `make matrix` tries."""

from __future__ import annotations

from tests.matrix.__main__ import BEGIN, END, PAGE, WORKED, table
from tests.matrix.builds import VERSIONS, Build


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]


def test_every_pair_of_the_committed_table_works() -> None:
    written = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    heading, _, *tried = rows(written)
    masters = heading[1:]
    assert masters[: len(VERSIONS)] == [*VERSIONS]
    assert [row[0] for row in tried] == masters
    assert {cell for row in tried for cell in row[1:]} == {WORKED}


def test_a_pair_that_fails_is_shown() -> None:
    found = [Build(name, PAGE) for name in ("14", "18")]
    results = {(o.name, m.name): WORKED for o in found for m in found} | {("14", "18"): "fails"}
    assert rows(table(found, results))[2:] == [["14", WORKED, "fails"], ["18", WORKED, WORKED]]
