"""Typed readers of environment variables; settings.py is their only caller.

django-environ reads the value of `NAME`, or the file that `NAME_FILE` names (for secrets), and
turns it into numbers, switches and lists. Added here is what it has not: an empty value counts as
unset, a file's last line break is no part of a secret, `$` has no meaning, numbers have a range,
and a value that is not valid is rejected by its variable's name. No message shows a value: it may
be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import time
from pathlib import Path
from typing import TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T", int, float)

CLIENT = re.compile(r"RAINBO_([A-Z][A-Z0-9_]{0,63})_CLIENT_(?:ID|SECRET)(?:_FILE)?")
# django-environ takes any other word for off.
SWITCHES = frozenset({"1", "on", "true", "yes", "0", "off", "false", "no"})


class Environment:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self._names = frozenset(variables)
        self._env = environ.FileAwareEnv()
        self._env.ENVIRON = _Variables({name: text.strip() for name, text in variables.items()})
        self._env.escape_proxy = True  # see _Variables
        # Of the variables that were read, for docs/settings.md and docs/retention.md.
        self.ranges: dict[str, str] = {}
        self.numbers: dict[str, int] = {}  # defaults

    def optional(self, name: str) -> str | None:
        """The value without surrounding white space, or None when unset or empty."""
        value: str | None = self._env.str(name, default=None)
        return value

    def text(self, name: str, default: str) -> str:
        value = self.optional(name)
        return default if value is None else value

    def required(self, name: str, hint: str) -> str:
        value = self.optional(name)
        if value is None:
            raise ImproperlyConfigured(f"{name} is not set: {hint}")
        return value

    def choice(
        self, name: str, default: str, choices: Collection[str], wanted: str | None = None
    ) -> str:
        """One of the choices; `wanted` describes them where they are too many to list."""
        value = self.text(name, default)
        self.ranges[name] = "" if wanted else ", ".join(f"`{choice}`" for choice in choices)
        if value not in choices:
            raise _wrong(name, wanted or f"one of {', '.join(choices)}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        self.ranges[name] = "`on`, `off`"
        if self.text(name, "on" if default else "off").lower() not in SWITCHES:
            raise _wrong(name, "on or off")
        return bool(self._env.bool(name, default=default))

    def integer(self, name: str, default: int, at_least: int, at_most: int) -> int:
        value = self.text(name, str(default))
        self.numbers[name] = default
        self.ranges[name] = _range(at_least, at_most)
        return _number(name, value, int, at_least, at_most)

    def integers(self, name: str, default: str, at_least: int, at_most: int) -> tuple[int, ...]:
        """Whole numbers, separated by commas; `none` for no number at all."""
        value = self.text(name, default)
        parts = [] if value.lower() == "none" else value.split(",")
        self.ranges[name] = f"each {_range(at_least, at_most)}; `none`"
        return tuple(_number(name, part, int, at_least, at_most) for part in parts)

    def optional_integer(self, name: str, at_least: int, at_most: int) -> int | None:
        value = self.optional(name)
        self.ranges[name] = _range(at_least, at_most)
        return None if value is None else _number(name, value, int, at_least, at_most)

    def percent(self, name: str, default: float) -> float:
        self.ranges[name] = _range(0, 100)
        return _number(name, self.text(name, str(default)), float, 0, 100)

    def rows_and_percent(self, name: str, rows: int, percent: float) -> tuple[int, float]:
        """A threshold such as `20,10`: the larger of 20 rows and 10 percent."""
        parts = self.text(name, f"{rows},{percent}").split(",")
        self.ranges[name] = "rows; 0 to 100"
        if len(parts) != 2:
            raise _wrong(name, "rows and percent, such as 20,10")
        return (
            _number(name, parts[0], int, 0, 2**63 - 1),
            _number(name, parts[1], float, 0, 100),
        )

    def names(self, name: str) -> list[str]:
        parts: list[str] = self._env.list(name, cast=str.strip, default=[])
        return [part for part in parts if part]

    def required_names(self, name: str, hint: str) -> list[str]:
        self.required(name, hint)
        names = self.names(name)
        if not names:
            raise ImproperlyConfigured(f"{name} holds no value: {hint}")
        return names

    def pairs(self, name: str, example: str) -> dict[str, str]:
        """`name=value; name=value`, each name once."""
        parts = [part for part in self.text(name, "").split(";") if part.strip()]
        pairs = [[side.strip() for side in part.split("=", 1)] for part in parts]
        found = {pair[0]: pair[-1] for pair in pairs if len(pair) == 2 and all(pair)}
        if len(found) != len(parts):
            raise _wrong(name, f"pairs with each name once, such as {example}")
        return found

    def limits(self, name: str, example: str, at_least: int, at_most: int) -> dict[str, int]:
        """`name=60; name=600`: a whole number for each name."""
        pairs = self.pairs(name, example)
        self.ranges[name] = f"each {_range(at_least, at_most)}"
        return {key: _number(name, value, int, at_least, at_most) for key, value in pairs.items()}

    def clients(self) -> dict[str, tuple[str, str]]:
        """`RAINBO_<SERVICE>_CLIENT_ID` and `…_CLIENT_SECRET`, by the service's name."""
        found: dict[str, tuple[str, str]] = {}
        for service in sorted({m[1] for name in self._names if (m := CLIENT.fullmatch(name))}):
            known, secret = f"RAINBO_{service}_CLIENT_ID", f"RAINBO_{service}_CLIENT_SECRET"
            pair = self.optional(known), self.optional(secret)
            if pair[0] is None and pair[1] is None:
                continue
            if pair[0] is None or pair[1] is None:
                raise ImproperlyConfigured(f"{known} and {secret} belong together: set both")
            found[service.lower()] = pair[0], pair[1]
        return found

    def week_hours(self, name: str) -> tuple[frozenset[int], time, time] | None:
        """`mon-fri 08:00-18:00`: days from 0 (Monday), begin and end; None if it is not set."""
        value = self.optional(name)
        if value is None:
            return None
        days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
        clock = "([01][0-9]|2[0-3]):([0-5][0-9])"
        found = re.fullmatch(rf"(\w{{3}})(?:-(\w{{3}}))? {clock}-{clock}", value.lower())
        if found and {found[1], found[2] or found[1]} <= {*days}:
            first, last = days.index(found[1]), days.index(found[2] or found[1])
            begin, end = time(int(found[3]), int(found[4])), time(int(found[5]), int(found[6]))
            if first <= last and begin < end:
                return frozenset(range(first, last + 1)), begin, end
        raise _wrong(name, "days and hours, such as mon-fri 08:00-18:00")

    def folder(self, name: str) -> Path | None:
        return self._path(name, "a folder that exists", Path.is_dir)

    def file_or(self, name: str, word: str) -> str:
        """The path of a file, or a word that stands for no file of its own; default: the word."""
        if (self.optional(name) or word) == word:
            return word
        return str(self._path(name, f"a file that exists, or {word}", Path.is_file))

    def _path(self, name: str, what: str, fits: Callable[[Path], bool]) -> Path | None:
        value = self.optional(name)
        if value is None:
            return None
        if not fits(Path(value)):
            raise _wrong(name, what)
        return Path(value).resolve()


class _Variables(environ.FileAwareMapping):
    """Variables and the files they name, as django-environ is to see them.

    It reads a value that begins with `$` as the name of another variable. With `escape_proxy` it
    turns every `\\$` into `$`, so that a value whose every `$` is escaped comes out as it was.
    """

    def __getitem__(self, name: str) -> str:
        try:
            value: str = super().__getitem__(name).strip()
        except (OSError, UnicodeDecodeError) as error:
            # Without the cause: Python's message quotes what the file holds.
            raise _unreadable(f"{name}_FILE", self.env[f"{name}_FILE"], error) from None
        if not value:
            raise KeyError(name)
        return value.replace("$", r"\$")


def _unreadable(name: str, path: str, error: OSError | UnicodeDecodeError) -> ImproperlyConfigured:
    # Somebody may have put the secret itself where its file belongs.
    shown = path if path.startswith("/") else "a relative path"
    why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return ImproperlyConfigured(f"{name} names {shown}, which cannot be read: {why}")


def _range(at_least: int, at_most: int) -> str:
    return f"{at_least:,} to {at_most:,}"


def _number(name: str, value: str, kind: type[T], at_least: T, at_most: T) -> T:
    word = "a whole number" if kind is int else "a number"
    wanted = f"{word} from {at_least} to {at_most}"
    try:
        number = kind(value.strip())
    except ValueError:
        raise _wrong(name, wanted) from None
    if not at_least <= number <= at_most:
        raise _wrong(name, wanted)
    return number


def _wrong(name: str, wanted: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} must be {wanted}")
