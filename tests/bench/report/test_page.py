"""The page and the kept figures can't disagree."""

from __future__ import annotations

from pathlib import Path

from bench.report import page, results
from bench.report.figures import Spread
from bench.report.results import Bar, Line, Part

PART = Part(
    "routes-1",
    "The routing sync",
    [
        Line("A", "psql | psql", Spread(1.2345, 1, 2, 5), wire=127_000_000),
        Line(
            "RAINBO", "nothing changed", Spread(0.3, 0.3, 0.3, 1), Spread(0.25, 0.2, 0.3, 5), 5, 6.0
        ),
    ],
    [Bar("nothing changed, to A", 0.45, 0.25), Bar("times faster", 12, 11.5, at_least=True)],
    {"rows": "1,000,000"},
)


def test_what_is_kept_is_what_was_found(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    assert results.keep([PART], kept) == [PART] == results.load(kept)


def test_a_newer_part_takes_the_place_of_the_older_and_leaves_the_others(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    other = Part("fleet", "Fleet reads", [], [], {})
    results.keep([PART, other], kept)
    newer = Part("fleet", "Fleet reads again", [], [], {})
    assert results.keep([newer], kept) == [newer, PART]


def test_the_page_tells_figures_and_verdicts() -> None:
    told = page.text([PART])
    assert "| nothing changed, to A | ≤ 0.45 × | 0.25 × | held |" in told
    assert "| times faster | ≥ 12.0 × | 11.5 × | not held |" in told
    assert "| A | psql \\| psql | 1.23 (1.00 to 2.00) | – | 127 MB | – | – | – |  |" in told
    assert "| RAINBO | nothing changed | 0.30 | 0.25 (0.20 to 0.30) | 5 B | 6 B |" in told


def test_the_page_in_docs_is_made_of_the_figures_beside_it() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(results.load())
