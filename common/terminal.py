"""Makes other people's text safe for a terminal: control characters are shown, not obeyed."""

from __future__ import annotations

import json
import re
import unicodedata

# C0 and C1 except newline, and Unicode's bidirectional controls, line and paragraph separators.
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def is_one_line(text: str) -> bool:
    """Whether a text has no control, format or separator characters but the space.

    Letters that are newer than Python's Unicode tables count as letters.
    """
    return all(sign.isprintable() or unicodedata.category(sign) == "Cn" for sign in text)


def printable(text: str) -> str:
    """Write control characters as `\\uXXXX`; a JSON document keeps its meaning."""
    return _CONTROLS.sub(_escape, text)


def printable_line(text: str) -> str:
    """Like `printable`, for text that must stay on one line: newlines are escaped too."""
    return printable(text).replace("\n", "\\u000a")


def json_text(document: object) -> str:
    """Format a JSON document so that it is safe for programs and terminals alike."""
    return printable(json.dumps(document, indent=2, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
