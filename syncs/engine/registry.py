"""The registry of syncs: named jobs that the engine can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.errors import UsageError
from syncs.engine.targets import Hidden, Pages, Target

if TYPE_CHECKING:
    from syncs.engine.run import Run


@dataclass(frozen=True)
class Sync:
    """A named job.

    cron: the default cron line in UTC, five fields.
    targets: returns what should be confirmed.
    order: its place in sync_all.
    in_parts: its command can take some instances alone (--rds, --failed-from).
    flags: further options of its command: option of a run → flag (`only` → `--admin`).
    limit: maximum seconds of a run, if less than RAINBO_RUN_LIMIT; RAINBO_RUN_LIMITS overrides it.
    describe_only: describes what the option `only` lists.
    hidden: the rows that it stores and hides from readers.
    pages: the console's pages of its targets.
    end_sessions: ends sessions that a run, named by its purpose, left open at these targets.
    """

    name: str
    title: str
    function: Callable[[Run], None]
    targets: Callable[[], list[Target]]
    cron: str
    order: int
    in_parts: bool = True
    flags: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    describe_only: Callable[[Sequence[str]], str] | None = None
    hidden: Hidden | None = None
    pages: Pages | None = None
    end_sessions: Callable[[str, list[str]], object] | None = None

    @property
    def command(self) -> str:
        return f"sync_{self.name}"


_registry: dict[str, Sync] = {}


def register(sync: Sync) -> Sync:
    _registry[sync.name] = sync
    return sync


def get(name: str) -> Sync:
    """Return the sync of that name. Raises UsageError if there is none."""
    try:
        return _registry[name]
    except KeyError:
        raise UsageError(f"no sync is named {name!r}: {', '.join(_registry)}") from None


def all_syncs() -> list[Sync]:
    """Return all syncs in the order of their dependencies."""
    return sorted(_registry.values(), key=lambda sync: sync.order)
