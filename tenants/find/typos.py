"""What a person may have meant who typed one letter wrong. Pure.

All that are one letter away are looked up in an index: a few milliseconds, where the similarity of
trigrams takes half a second for a million e-mails, and does not find a short word with two letters
swapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_lowercase, digits

LETTERS = ascii_lowercase + digits
SHORTEST, LONGEST = 4, 100  # letters: of less, everything is one away


def spellings(typed: str, others: str = "") -> set[str]:
    """One letter more, less or other, or two swapped; nothing for a word that is too short."""
    if not SHORTEST <= len(typed) <= LONGEST:
        return set()
    letters = {*LETTERS, *others, *typed}
    halves = [(typed[:at], typed[at:]) for at in range(len(typed) + 1)]
    meant = {left + right[1:] for left, right in halves if right}
    meant |= {left + right[1] + right[0] + right[2:] for left, right in halves if len(right) > 1}
    for left, right in halves:
        meant |= {left + letter + right for letter in letters}
        meant |= {left + letter + right[1:] for letter in letters if right}
    return meant - {typed}


def emails(key: str) -> list[str]:
    """Keys of e-mails that are one letter away; none unless it is a whole e-mail."""
    return sorted(spellings(key, ".-_+@")) if "@" in key.strip("@") else []


def words(typed: Iterable[str]) -> str:
    """A tsquery: each word as it begins, or spelt otherwise; empty if none is long enough.

    typed: as rainbo_name_words splits a name, so without quotes and backslashes.
    """
    wanted, is_any = [], False
    for word in typed:
        others = sorted(spellings(word))
        is_any = is_any or bool(others)
        wanted.append(" | ".join([f"'{word}':*", *(f"'{other}'" for other in others)]))
    return " & ".join(f"({either})" for either in wanted) if is_any else ""
