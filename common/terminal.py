"""Text of others on its way to a terminal: what would steer it is shown and not obeyed."""

from __future__ import annotations

import json
import re

# C0 and C1 but the newline, the directions of Unicode, and its line and paragraph separators.
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with such characters as `\\uXXXX`; a JSON document stays the same document."""
    return _STEERING.sub(_shown, text)


def printable_line(text: str) -> str:
    """The same of what must be one line: a newline in it is none of ours."""
    return printable(text).replace("\n", "\\u000a")


def json_text(document: object) -> str:
    """A JSON document as text for programs and terminals alike."""
    return printable(json.dumps(document, indent=2, ensure_ascii=False))


def _shown(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
