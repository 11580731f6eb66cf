"""We say what other consoles say: the words that docs/glossary.md replaces don't come back.

Hits are whole words, without regard to case. A use that is right all the same is in ALLOWED, with
its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
THIS = Path(__file__).relative_to(ROOT).as_posix()
# What to say is in the glossary's last table; a test below compares the two.
WORDS = (
    r"signs? of life|beats?",
    r"silent|silence",
    r"rings?|ringing|rung|doorbell",
    r"rhythms?",
    r"planned (?:time|run|slot)s?",
    r"anew",
    r"tells?|telling|told",
    r"lacks?|lacked|lacking",
    r"graver?|gravest",
    r"mends?|mended|mending",
    r"doubles",
    r"in words",
    r"patience",
    r"under way",
    r"tak(?:es?|en|ing) up",
    r"put(?:s|ting)? (?:\w+ ){0,2}(?:aside|off|back)",
    r"sweeps?|bury|buries|buried|tends?|upkeep",
    r"vitals?|vital signs",
    r"tiles?|strips?",
    r"verdicts?",
    r"troubles?",
    r"not well|unwell",
    r"what (?:came|became|comes|becomes) of",
    r"out of use",
    r"(?:somebody|those|people) who may|who(?:ever)? may|who looks? after",
    r"unless told|if left out",
    r"makes? no sense",
    r"ways? to log in",
    r"RAINBO refuses|refused? by (?:a check|RAINBO)|checks? refuses?|form refuses?",
    r"seals?|sealed|sealing",
    r"second factors?",
    r"the fleet itself",
    r"besides?",
    r"narrow(?:s|ed|ing)? (?:it|down|to|a list|the list)",
    r"column words|\| words? \||<th[^>]*>\s*words",
    r"for good",
    r"no more",
    r"RAINBO_(?:BEAT|WORKER_SILENCE|QUEUE_PATIENCE|LOGIN_TRIES|MANAGE)",
)
FORBIDDEN = re.compile("|".join(rf"(?<!\w)(?:{word})(?!\w)" for word in WORDS), re.IGNORECASE)


class Allowed(NamedTuple):
    """Where a replaced word is right: in files that match the pattern, within that context."""

    files: str
    context: str
    reason: str


ALLOWED = (
    Allowed("*", r"silent unless", "what a command prints, not a worker"),
    Allowed("*", r"\.strip\b|\bstrip\(|--no-strip-extras", "str.strip and an option of uv"),
    Allowed("*", r"key rings?", "a set of keys"),
    Allowed("*", r"tends? to", "what usually happens"),
    Allowed("*", r"no more than|no more rows", "an amount, not a time"),
    Allowed("*", r"waits? doubles", "a time that grows, not a duplicate"),
    Allowed("*", r"dashboard[/.]verdict", "a module's name; the console says status"),
    Allowed("docs/glossary.md", r"^\| not .*$", "the table that replaces the words"),
    Allowed("CHANGELOG.md", r"`RAINBO_\w+` to", "names that were renamed"),
    Allowed(THIS, r"^.*$", "the words themselves"),
)


def hits(name: str, text: str) -> Iterator[str]:
    """The replaced words that the text uses where they aren't allowed; name: path of the file."""
    contexts = [allowed.context for allowed in ALLOWED if fnmatch(name, allowed.files)]
    allowed = re.compile("|".join(f"(?:{each})" for each in contexts), re.IGNORECASE | re.MULTILINE)
    spans = [match.span() for match in allowed.finditer(text)]
    for match in FORBIDDEN.finditer(text):
        if not any(start <= match.start() and match.end() <= end for start, end in spans):
            number = text.count("\n", 0, match.start()) + 1
            yield f"{name}:{number}: {match.group()}"


def files(pattern: str) -> list[Path]:
    skipped = {"migrations", "vendor", ".venv", ".cache", ".local", "staticfiles", "__pycache__"}
    return sorted(p for p in ROOT.glob(pattern) if p.is_file() and not skipped & set(p.parts))


@pytest.mark.parametrize(
    "pattern",
    ["*.md", "docs/*.md", ".env.example", "Makefile", ".ci/run", "deploy/**/*"],
)
def test_only_words_of_the_glossary_are_used(pattern: str) -> None:
    found = files(pattern)
    assert found
    read = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}
    assert not [hit for name, text in read.items() for hit in hits(name, text)]
