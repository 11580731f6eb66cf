"""The registry of syncs: named jobs that the engine can run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.errors import UsageError
from syncs import names
from syncs.engine.targets import Hidden, Pages, Target, TenantPages

if TYPE_CHECKING:
    from syncs.engine.run import Run


@dataclass(frozen=True)
class Sync:
    """A named job.

    targets: returns what should be confirmed; `Targets` are read with the other facts of a status.
    cron: the default cron line in UTC, five fields; empty: it has no schedule, and what is due of
        it is requested by the app that registers it.
    order: its place among all syncs.
    command: default: `sync_` and its name.
    noun: what a target of it is called.
    in_parts: its command can take some targets alone (part_flag, --failed-from).
    part_flag: the option of its command that names targets.
    flags: further options of its command: option of a run → flag (`only` → `--admin`).
    limit: maximum seconds of a run, if less than RAINBO_RUN_LIMIT; RAINBO_RUN_LIMITS overrides it.
    describe_only: describes what the option `only` lists.
    hidden: the rows that it stores and hides from readers.
    pages: the console's pages of its targets.
    tenants: the console's pages of the tenants that its changes are about; default: of none.
    obstacles: why some of these targets can't be taken, by their keys; default: those that
        `targets` does not return are no part of it.
    late_label: what a target is called, by its key; given, the parts of the targets that a run's
        options name are stored with their outcome, and not before.
    end_sessions: ends sessions that a run, named by its purpose, left open at these targets.
    """

    name: str
    title: str
    function: Callable[[Run], None]
    targets: Callable[[], list[Target]]
    cron: str
    order: int
    command: str = ""
    noun: str = "instance"
    in_parts: bool = True
    part_flag: str = "--rds"
    flags: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    describe_only: Callable[[Sequence[str]], str] | None = None
    hidden: Hidden | None = None
    pages: Pages | None = None
    tenants: TenantPages | None = None
    obstacles: Callable[[Collection[str]], Mapping[str, str]] | None = None
    late_label: Callable[[str], str] | None = None
    end_sessions: Callable[[str, list[str]], object] | None = None

    def __post_init__(self) -> None:
        if not self.command:
            object.__setattr__(self, "command", f"sync_{self.name}")


_registry: dict[str, Sync] = {}


def register(sync: Sync) -> Sync:
    _registry[sync.name] = sync
    names.remember(sync.name, sync.title)
    return sync


def get(name: str) -> Sync:
    """Return the sync of that name. Raises UsageError if there is none."""
    try:
        return _registry[name]
    except KeyError:
        raise UsageError(f"no sync is named {name!r}: {', '.join(_registry)}") from None


def all_syncs() -> list[Sync]:
    """Return all syncs in the order of their dependencies."""
    return sorted(_registry.values(), key=lambda sync: (sync.order, sync.name))


def scheduled_syncs() -> list[Sync]:
    """Return the syncs that have a schedule each, in the order of their dependencies."""
    return [sync for sync in all_syncs() if sync.cron]
