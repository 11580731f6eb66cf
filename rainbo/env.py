"""Typed readers of environment variables; settings.py is their only caller.

A value comes from `NAME`, or from the file that `NAME_FILE` names (for secrets). An empty value
counts as unset. What makes no sense is refused with the variable's name, and never with the value
of a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T", int, float)

ON = frozenset({"1", "on", "true", "yes"})
OFF = frozenset({"0", "off", "false", "no"})


class Environment:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def optional(self, name: str) -> str | None:
        """The value without surrounding white space, or None when unset or empty."""
        path = self._variables.get(f"{name}_FILE", "").strip()
        value = _read(f"{name}_FILE", path) if path else self._variables.get(name, "")
        return value.strip() or None

    def text(self, name: str, default: str) -> str:
        value = self.optional(name)
        return default if value is None else value

    def required(self, name: str, hint: str) -> str:
        value = self.optional(name)
        if value is None:
            raise ImproperlyConfigured(f"{name} is not set: {hint}")
        return value

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise _wrong(name, f"one of {', '.join(choices)}", value)
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name, "on" if default else "off").lower()
        if value not in ON | OFF:
            raise _wrong(name, "on or off", value)
        return value in ON

    def integer(self, name: str, default: int, at_least: int, at_most: int) -> int:
        value = self.text(name, str(default))
        return _number(name, value, int, at_least, at_most)

    def integers(self, name: str, default: str, at_least: int, at_most: int) -> tuple[int, ...]:
        """Whole numbers, separated by commas; `none` for no number at all."""
        value = self.text(name, default)
        parts = [] if value.lower() == "none" else value.split(",")
        return tuple(_number(name, part, int, at_least, at_most) for part in parts)

    def optional_integer(self, name: str, at_least: int, at_most: int) -> int | None:
        value = self.optional(name)
        return None if value is None else _number(name, value, int, at_least, at_most)

    def percent(self, name: str, default: float) -> float:
        return _number(name, self.text(name, str(default)), float, 0, 100)

    def rows_and_percent(self, name: str, rows: int, percent: float) -> tuple[int, float]:
        """A threshold such as `20,10`: the larger of 20 rows and 10 percent."""
        value = self.text(name, f"{rows},{percent}")
        parts = value.split(",")
        if len(parts) != 2:
            raise _wrong(name, "rows and percent, such as 20,10", value)
        return (
            _number(name, parts[0], int, 0, 2**63 - 1),
            _number(name, parts[1], float, 0, 100),
        )

    def names(self, name: str) -> list[str]:
        return [part.strip() for part in self.text(name, "").split(",") if part.strip()]

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
            raise _wrong(name, f"pairs with each name once, such as {example}", self.text(name, ""))
        return found

    def limits(self, name: str, example: str, at_least: int, at_most: int) -> dict[str, int]:
        """`name=60; name=600`: a whole number for each name."""
        pairs = self.pairs(name, example)
        return {key: _number(name, value, int, at_least, at_most) for key, value in pairs.items()}

    def folder(self, name: str) -> Path | None:
        return self._path(name, "a folder that exists", Path.is_dir)

    def file(self, name: str) -> Path | None:
        return self._path(name, "a file that exists", Path.is_file)

    def _path(self, name: str, what: str, fits: Callable[[Path], bool]) -> Path | None:
        value = self.optional(name)
        if value is None:
            return None
        if not fits(Path(value)):
            raise _wrong(name, what, value)
        return Path(value).resolve()


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ImproperlyConfigured(f"{name} names {path}, which cannot be read: {why}") from error


def _number(name: str, value: str, kind: type[T], at_least: T, at_most: T) -> T:
    word = "a whole number" if kind is int else "a number"
    wanted = f"{word} from {at_least} to {at_most}"
    try:
        number = kind(value.strip())
    except ValueError:
        raise _wrong(name, wanted, value) from None
    if not at_least <= number <= at_most:
        raise _wrong(name, wanted, value)
    return number


def _wrong(name: str, wanted: str, value: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} must be {wanted}, not {value!r}")
