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

    cron: the default rhythm in UTC, five fields. targets: what should be confirmed. order:
    place in sync_all. in_parts: its command takes some instances alone (--rds, --failed-from).
    flags: what else its command takes: option of a run → word (`only` → `--admin`).
    limit: seconds that a run may take, when less than RAINBO_RUN_LIMIT and none are told for it.
    only_in_words: names what the option `only` lists.
    hidden: what it stores and hides from readers.
    pages: where the console shows its targets.
    end_sessions: ends what a run, named by its purpose, left open at these targets.
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
    only_in_words: Callable[[Sequence[str]], str] | None = None
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
    """The sync of that name. Raises UsageError when the code knows none."""
    try:
        return _registry[name]
    except KeyError:
        raise UsageError(f"no sync is named {name!r}: {', '.join(_registry)}") from None


def all_syncs() -> list[Sync]:
    """Every sync, in the order in which they depend on each other."""
    return sorted(_registry.values(), key=lambda sync: sync.order)
