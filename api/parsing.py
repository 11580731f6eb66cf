"""Reads bodies: one JSON object, not deep, without characters that PostgreSQL can't store."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, cast

from django.http import HttpRequest
from ninja.parser import Parser

from api.problems import Problem

DEEPEST = 20  # objects and lists inside each other
_OUTSIDE_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*"|[\[{]|[\]}]', re.DOTALL)

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


class ObjectParser(Parser):
    """Refuses what isn't an object: ninja would take `0`, `true` and `null` for an empty one."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        return parse_object(request.body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the object that a body is. Raises Problem 400."""
    _check_depth(body)
    try:
        found = json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except ValueError as error:  # of JSON and of UTF-8 alike; huge numbers, too
        raise Problem(400, "The body is not valid JSON in UTF-8.") from error
    if not isinstance(found, dict):
        raise Problem(400, "The body must be a JSON object.")
    if not _is_storable(found):
        raise Problem(400, "The body holds a NUL character or half of a surrogate pair.")
    return cast("dict[str, Any]", found)


def _check_depth(body: bytes) -> None:
    depth = 0
    for found in _OUTSIDE_TEXTS.finditer(body):
        if found[0] in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise Problem(400, f"The body is nested more than {DEEPEST} deep.")
        elif found[0] in b"]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Problem(400, "The body has a field twice.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise Problem(400, f"{name} is no JSON.")


def _is_storable(value: Any) -> bool:
    if isinstance(value, str):
        return not _UNSTORABLE.search(value)
    if isinstance(value, dict):
        return all(_is_storable(key) and _is_storable(item) for key, item in value.items())
    return not isinstance(value, list) or all(map(_is_storable, value))
