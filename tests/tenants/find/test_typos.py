"""One wrong letter: what may have been meant."""

from __future__ import annotations

import pytest

from tenants.find import typos


@pytest.mark.parametrize("meant", ["smith", "smih", "smiths", "smoth", "msith"])
def test_one_letter_more_less_other_or_swapped_is_near(meant: str) -> None:
    assert ("smith" in typos.spellings(meant)) is (meant != "smith")


@pytest.mark.parametrize("typed", ["smihts", "sth", "smithson", "hamish", "smi"])
def test_two_letters_are_not(typed: str) -> None:
    assert "smith" not in typos.spellings(typed)


def test_a_short_word_is_near_to_nothing() -> None:
    assert typos.spellings("ann") == set()
    assert typos.words(["ann", "li"]) == ""
    assert typos.words(["ann", "li", "smih"]).startswith("('ann':*) & ('li':*) & ('smih':* | ")


def test_only_a_whole_email_is_spelt_otherwise() -> None:
    assert "ann.b@example.com" in typos.emails("annb@example.com")
    assert "ann@example.com" in typos.emails("ann@exampel.com")
    assert typos.emails("ann.example.com") == typos.emails("@example") == []
    assert typos.emails("x" * 200 + "@example.com") == []


def test_letters_beyond_ascii_are_swapped_and_left_out() -> None:
    assert "иванов" in typos.spellings("ивнаов")
    assert "иванов" in typos.spellings("иваноов")
