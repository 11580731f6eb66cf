"""A state of the source and of RAINBO's cache that a sync is measured in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """prepare: makes the state that a sync meets. bar: of the ratio to A, where one was set.

    in_full: whether the sync is to read everything, not only what differs. by_digests: whether it
    is not to find out by a count that nothing changed.
    """

    name: str
    what: str
    prepare: Callable[[], object]
    bar: float | None = None
    in_full: bool = False
    by_digests: bool = False
