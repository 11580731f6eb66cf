"""The `.env` file of a checkout, for development: read by django-environ, checked line by line.

django-environ drops lines that it does not understand, and keeps quotes and comments as part of a
value where systemd and shells do not. Such a line is rejected by file and number, and without its
text: it may hold a secret.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

# Every installation must set it: where it is set, RAINBO is configured already.
CONFIGURED = frozenset({"RAINBO_SECRET_KEY", "RAINBO_SECRET_KEY_FILE"})
ASSIGNMENT = re.compile(r"(?:export )?([A-Za-z_][A-Za-z_0-9]*)=(.*)")
SINGLE_QUOTED = re.compile(r"'(?!\".*\"')[^']*'")  # django-environ takes off '"both"'
DOUBLE_QUOTED = re.compile(r'"(?:[^"\\]|\\["\\`$])*"')


def completed(variables: Mapping[str, str], path: Path) -> Mapping[str, str]:
    """Add the file's variables to a process's own, which win.

    A process that has RAINBO_SECRET_KEY gets none: services, the demo and the tests bring their
    whole environment along, and a file left in the checkout must not change what they do.
    """
    if CONFIGURED & variables.keys() or path.is_dir() or not path.exists():
        return variables
    # NAME_FILE wins over NAME, but not the file's one over the process's other.
    added = {
        name: value
        for name, value in read(path).items()
        if name.removesuffix("_FILE") not in variables
    }
    return added | dict(variables)


def read(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ImproperlyConfigured(f"{path} cannot be read: {why}") from None

    class Reader(environ.Env):
        ENVIRON: dict[str, str] = {}  # instead of os.environ

    Reader.read_env(io.StringIO("\n".join(_assignments(path, text))))
    return Reader.ENVIRON


def _assignments(path: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = ASSIGNMENT.fullmatch(line.strip())
        wrong = _wrong(match[2]) if match else "must be NAME=value, without spaces around ="
        if not match or wrong:
            raise ImproperlyConfigured(f"{path}, line {number}: {wrong}")
        yield f"{match[1]}={match[2].strip()}"


def _wrong(value: str) -> str | None:
    """What is wrong with the text behind `=`, if anything is."""
    if re.search(r"\s#", value) and not _is_quoted(value.strip()):
        return "a comment needs a line of its own"
    if value.strip() and value[0].isspace():
        return "must be NAME=value, without spaces around ="
    if re.search(r"['\"\\]", value) and not _is_quoted(value):
        return "a value with quotes or backslashes must be quoted as a whole"
    return None


def _is_quoted(value: str) -> bool:
    return bool(SINGLE_QUOTED.fullmatch(value) or DOUBLE_QUOTED.fullmatch(value))
