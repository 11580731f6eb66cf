"""How a person here starts a management command."""

from __future__ import annotations

import shlex

from django.conf import settings

# What a shell reads within double quotes; the history of an interactive one knows no backslash.
_IN_DOUBLE = str.maketrans({sign: f"\\{sign}" for sign in '\\$`"'} | {"!": "\"'!'\""})
_IN_SINGLE = str.maketrans({"'": "'\\''"})


def line(words: str) -> str:
    """The line for a shell: `python manage.py …` unless RAINBO_MANAGE_COMMAND says otherwise."""
    manage: str = settings.RAINBO_MANAGE_COMMAND
    before, place, after = manage.partition("{}")
    if not place:
        return f"{manage} {words}"
    if before.count('"') % 2:
        words = words.translate(_IN_DOUBLE)
    elif before.count("'") % 2:
        words = words.translate(_IN_SINGLE)
    return f"{before}{words}{after}"


def term(text: str) -> str:
    """A word of somebody else's choice, to stand last: never an option, never a command."""
    return f"{'-- ' if text.startswith('-') else ''}{shlex.quote(text)}"
