from __future__ import annotations

import json
from typing import Any

import pytest

from bench.comparison.figures import Comparison, Figure, Figures, compare, read
from bench.comparison.table import cells
from bench.errors import BenchError
from bench.report.figures import Spread

KEY = ("routes", "RAINBO", "nothing changed")


def spread(median: float, least: float, most: float) -> dict[str, Any]:
    return {"median": median, "least": least, "most": most, "runs": 3}


def kept(**line: Any) -> str:
    named = {"who": "RAINBO", "what": "nothing changed", **line}
    return json.dumps({"parts": [{"name": "routes", "lines": [named]}]})


def turn(median: float, least: float, most: float, unit: str = "× A") -> Figures:
    return {KEY: Figure(Spread(median, least, most, 3), unit)}


def test_a_ratio_goes_before_seconds() -> None:
    found = read(kept(seconds=spread(9, 8, 10), ratio=spread(0.5, 0.4, 0.6)))
    assert found == {KEY: Figure(Spread(0.5, 0.4, 0.6, 3), "× A")}


def test_without_a_baseline_seconds_count() -> None:
    found = read(kept(seconds=spread(9, 8, 10), ratio=None))
    assert found == {KEY: Figure(Spread(9, 8, 10, 3), "s")}


def test_a_line_without_figures_is_left_out() -> None:
    assert read(kept(seconds=None, note="p99 1 ms")) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"parts": [{"name": "routes"}]}'])
def test_what_is_no_benchmark_is_said(text: str) -> None:
    with pytest.raises(BenchError, match=r"benchmarks\.json can't be read"):
        read(text)


def test_turns_are_pooled() -> None:
    (found,) = compare(
        [turn(0.5, 0.4, 0.6), turn(0.6, 0.5, 0.9), turn(0.7, 0.6, 0.8)], [turn(0.9, 0.3, 1.0)]
    )
    assert found == Comparison(KEY, "× A", Spread(0.6, 0.4, 0.9, 9), Spread(0.9, 0.3, 1.0, 3))
    assert found.quotient == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("ours", "expected"),
    [(0.39, "faster"), (0.4, "within"), (0.6, "within"), (0.61, "slower")],
)
def test_our_median_is_judged_by_the_spread_of_the_base(ours: float, expected: str) -> None:
    (found,) = compare([turn(0.5, 0.4, 0.6)], [turn(ours, 0.1, 2)])
    assert found.verdict == expected


def test_lines_of_one_side_only_are_shown() -> None:
    other = {("routes", "RAINBO", "a new line"): Figure(Spread(1, 1, 1, 1), "s")}
    ours, base = compare([turn(0.5, 0.4, 0.6)], [other])
    assert (ours.verdict, base.verdict) == ("only in ours", "only in base")
    assert cells(base) == (
        *("routes", "RAINBO: nothing changed", "× A", "0.50 (0.40 to 0.60)"),
        *("–", "–", "only in base"),
    )


def test_a_ratio_is_not_compared_with_seconds() -> None:
    assert compare([turn(0.5, 0.4, 0.6)], [turn(9, 8, 10, "s")]) == []
