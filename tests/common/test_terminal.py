from __future__ import annotations

import json

import pytest

from common.terminal import printable, printable_line


@pytest.mark.parametrize(
    "character",
    [
        *"\x00\x07\t\r\x1b\x7f\x85\x9b",
        *"\u200e\u200f\u202a\u202e\u2066\u2069\u061c\u2028\u2029",
    ],
    ids=ascii,
)
def test_what_steers_a_terminal_is_shown_and_not_obeyed(character: str) -> None:
    assert printable(f"a{character}b") == f"a\\u{ord(character):04x}b"


@pytest.mark.parametrize("text", ["Ann “Åsa” 日本 👩‍🔧 ﷺ", "עברית", "\\x1b", "two\nlines", ""])
def test_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_a_line_stays_one_line() -> None:
    assert printable_line("one\ntwo") == "one\\u000atwo"


def test_a_document_stays_what_it_was() -> None:
    value = {"name": "\x9b2J\u202e\x1b\\ “Åsa”"}
    shown = printable(json.dumps(value, ensure_ascii=False, indent=2))
    assert shown.isprintable() or "\n" in shown
    assert "\u202e" not in shown
    assert json.loads(shown) == value
