"""The tenants that a run's held changes are about: those with most changes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from common.text import counted
from syncs.admin import held_changes, run_targets
from syncs.engine import held
from syncs.engine.targets import TenantKey, TenantPages
from syncs.models import HeldChange, RunTarget, SyncRun, TargetState

MaySee = Callable[[str], bool]
UNKNOWN = "Unknown: this run was held by a version that did not store the tenants of changes."
OF_MOVES = "A move counts for the tenant that would lose it."


@dataclass(frozen=True)
class TenantRow:
    """What would happen to the rows of one tenant."""

    key: str
    tenant: SafeString
    instance: SafeString
    would: str


@dataclass(frozen=True)
class ByTenant:
    """What a run holds of each tenant. notes: what the rows don't say, in sentences."""

    rows: Sequence[TenantRow]
    notes: Sequence[str]


def read(record: SyncRun, parts: Sequence[RunTarget], may_see: MaySee) -> ByTenant | None:
    """None when the run holds nothing that is about tenants. Each tenant is in one part alone."""
    pages = held_changes.tenants_of(record)
    holding = [part.held_tenants for part in parts if part.state == TargetState.HELD]
    if pages is None or record.is_dry or not holding:
        return None
    known = [tenants for tenants in holding if tenants is not None]
    if len(known) < len(holding):
        return ByTenant(rows=(), notes=(UNKNOWN,))
    ranked = sorted(
        (one for tenants in known for one in tenants["largest"]),
        key=lambda one: held_changes.weight(one[2], one[0], one[1]),
    )
    if not ranked:
        return None
    shown = ranked[: held.LARGEST_TENANTS]
    return ByTenant(_rows(shown, pages, may_see), [*_notes(ranked, known)])


def _rows(shown: Sequence[Any], pages: TenantPages, may_see: MaySee) -> list[TenantRow]:
    keys: list[TenantKey] = [(instance, tenant) for instance, tenant, _ in shown]
    tenants = pages.of(keys) if may_see(pages.permission) else {}
    instances = pages.instances({instance for instance, _ in keys})
    may_open = may_see(pages.instance_permission)
    rows = []
    for instance, tenant, kinds in shown:
        name, url = tenants.get((instance, tenant), ("", None))
        called = f"{name} (tenant {tenant})" if name else f"tenant {tenant}"
        label, page = instances.get(instance, (f"instance {instance}", None))
        row = TenantRow(
            f"{instance}/{tenant}",
            run_targets.linked(called, url),
            run_targets.linked(label, page if may_open else None),
            held_changes.would(kinds),
        )
        rows.append(row)
    return rows


def _notes(ranked: Sequence[Any], known: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """ranked: those that are counted one by one."""
    further = ranked[held.LARGEST_TENANTS :]
    others = len(further) + sum(tenants["others"] for tenants in known)
    changes = sum(sum(kinds.values()) for *_, kinds in further)
    changes += sum(tenants["changes"] for tenants in known)
    if others:
        yield f"… and {counted(others, 'more tenant')} with {counted(changes, 'change')}."
    if any(HeldChange.Kind.MOVED in kinds for *_, kinds in ranked):
        yield OF_MOVES
