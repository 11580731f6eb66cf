"""Parts of a run that are stored together with their outcome, and not before.

A run of thousands of connections writes each part once that way. Until then its options name them,
so that its page shows what still waits; what never came to its turn is stored when the run is
closed, whoever closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from common.errors import UsageError
from syncs.engine import registry
from syncs.models import RunState, RunTarget, SyncRun

Label = Callable[[str], str]


def late(record: SyncRun) -> frozenset[str]:
    """The targets that the run's options name, if its sync stores their parts late."""
    named: Any = record.options.get("targets", ())
    return frozenset(map(str, named)) if named and _label(record) else frozenset()


def waiting(record: SyncRun, stored: Collection[str]) -> list[RunTarget]:
    """Return, unsaved, the late parts of a running run whose turn has not come.

    stored: the targets whose parts are stored.
    """
    if record.state != RunState.RUNNING:
        return []
    return [part for part in _parts(record) if part.target not in stored]


def store_waiting(record: SyncRun) -> None:
    """Store the late parts of a run that ended before it came to them."""
    RunTarget.objects.bulk_create(_parts(record), ignore_conflicts=True)


def _parts(record: SyncRun) -> list[RunTarget]:
    keys = sorted(late(record), key=lambda key: (len(key), key))
    label = _label(record) if keys else None
    return [RunTarget(run=record, target=key, label=label(key)) for key in keys] if label else []


def _label(record: SyncRun) -> Label | None:
    try:
        return registry.get(record.sync).late_label
    except UsageError:  # a sync that the code no longer knows
        return None
