"""The e-mail in what a person pasted from a letter, a list or a log. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote

# What has no width and comes along at either end: spaces, joiners, marks of direction.
_UNSEEN = "".join(
    map(chr, (0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF))
)
_NAMED = re.compile(r"[^<>]*<([^<>]*@[^<>]*)>[\s,;.]*")
_AROUND = "\"'()[]“”‘’"
_AFTER = ",;.:"


def extract_email(typed: str) -> str:
    """Without what surrounds an e-mail: `Ann <ann@x.y>;` is ann@x.y. A name stays as it is."""
    text = _trimmed(typed)
    if "@" not in unquote(text):
        return text
    if named := _NAMED.fullmatch(text):
        text = _trimmed(named[1])
    text = text.rstrip(_AFTER).strip(_AROUND).rstrip(_AFTER)
    if text[:7].lower() == "mailto:":
        text = unquote(text[7:].partition("?")[0])
    return _trimmed(text)


def _trimmed(text: str) -> str:
    while (less := text.strip().strip(_UNSEEN)) != text:
        text = less
    return text
