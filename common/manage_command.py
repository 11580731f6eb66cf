"""The command line of a management command, as users of this installation start it."""

from __future__ import annotations

import shlex

from django.conf import settings

# Escaped within double quotes; an interactive shell's history expansion ignores backslashes.
_IN_DOUBLE = str.maketrans({sign: f"\\{sign}" for sign in '\\$`"'} | {"!": "\"'!'\""})
_IN_SINGLE = str.maketrans({"'": "'\\''"})


def line(arguments: str) -> str:
    """Return the line for a shell; default: `python manage.py …` (RAINBO_MANAGE_COMMAND)."""
    manage: str = settings.RAINBO_MANAGE_COMMAND
    before, place, after = manage.partition("{}")
    if not place:
        return f"{manage} {arguments}"
    if before.count('"') % 2:
        arguments = arguments.translate(_IN_DOUBLE)
    elif before.count("'") % 2:
        arguments = arguments.translate(_IN_SINGLE)
    return f"{before}{arguments}{after}"


def term(text: str) -> str:
    """Quote a foreign argument that comes last, so that it is never an option or a command."""
    return f"{'-- ' if text.startswith('-') else ''}{shlex.quote(text)}"
