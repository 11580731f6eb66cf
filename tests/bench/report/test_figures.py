from __future__ import annotations

import pytest

from bench.report.figures import Spread, percentile, ratio, within


def test_a_spread_is_the_median_with_both_ends() -> None:
    assert Spread.of([3, 1, 2, 100]) == Spread(2.5, 1, 100, 4)


def test_a_ratio_is_of_the_medians_and_its_spread_that_of_neighbours() -> None:
    found = ratio([1, 2, 3], [2, 2, 1])
    assert (found.median, found.least, found.most) == (1, 0.5, 3)


def test_a_ratio_needs_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1, 2], [1])


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.1, 100), (100, 100)]
)
def test_a_percentile_is_one_of_the_values(percent: float, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_the_worst_of_few_values_is_their_99th_percentile() -> None:
    assert percentile([5, 1, 9], 99) == 9


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 99)


def test_a_bar_holds_where_it_stands() -> None:
    assert within(5, 5)
    assert not within(5.01, 5)
    assert within(12, 12, at_least=True)
    assert not within(11.9, 12, at_least=True)
