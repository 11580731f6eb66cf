"""A state of the source and of RAINBO's cache that a sync is measured in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """prepare: makes the state that a sync meets. bar: of the ratio to A, where one was set."""

    name: str
    what: str
    prepare: Callable[[], object]
    bar: float | None = None
