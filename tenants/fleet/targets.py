"""The instances that a run syncs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from django.urls import reverse

from common.errors import UsageError
from common.joint_query import Question, compiled
from syncs.engine.rolling_up import failed_in
from syncs.engine.targets import Pages, Target, Targets
from syncs.hooks import TargetGroup
from syncs.models import TargetState
from tenants.models import RdsInstance
from tenants.models.instance import UNREADABLE

if TYPE_CHECKING:
    from syncs.engine.run import Run


def master() -> RdsInstance:
    """Return the active master. Raises UsageError, with what to do, if there is none."""
    found = RdsInstance.objects.filter(is_master=True).first()
    if found is None:
        raise UsageError(
            "no instance is the master: mark the one that holds the directory of e-mails "
            "(add_instance --update --id N --master)"
        )
    if not found.is_active:
        raise UsageError(f"{found} is the master but is not active: activate it")
    return found


def selected_instances(
    run: Run, also: Sequence[RdsInstance] = (), *, having: str = "is_active"
) -> list[RdsInstance]:
    """Return the active instances that the run's options name; default: all active ones.

    also: other instances that this run may sync like active ones. having: a switch of an
    instance that must be on, too. A named instance that was deactivated or deleted since is
    recorded as skipped, so that the others are synced.
    Raises UsageError if none is left, unless the run repeats what failed in another.
    """
    keys = _named(run)
    usable = {i.pk: i for i in (*RdsInstance.objects.filter(is_active=True), *also)}
    named = [instance for pk, instance in usable.items() if not keys or pk in keys]
    found = [instance for instance in named if instance in also or getattr(instance, having)]
    what = having.removeprefix("has_").replace("_", " ")
    if run.options.failed_from is None and not found:
        check_ids(keys - {instance.pk for instance in named})
        if named:
            raise UsageError(f"{', '.join(map(str, named))}: no {what} there, by its settings")
        raise UsageError("no instance is active: register one with add_instance")
    _skip_gone(run, keys - {instance.pk for instance in found}, what)
    return found


def check_ids(ids: Iterable[int]) -> None:
    """Raise UsageError for an id of no active instance."""
    active = set(RdsInstance.objects.filter(is_active=True).values_list("pk", flat=True))
    if missing := sorted(set(ids) - active):
        raise UsageError(f"no active instance has the id {', '.join(map(str, missing))}")


def as_target(instance: RdsInstance) -> Target:
    return Target(str(instance.pk), str(instance))


@cache
def _instances() -> Question:
    """The active instances: asked once for all syncs."""
    rows = RdsInstance.objects.filter(is_active=True).order_by("pk")
    fields = ("id", "name", "health", "is_master", "has_tenants", "has_ghosts")
    return compiled(rows.values(*fields))


@lru_cache(maxsize=4096)
def _target(pk: int, name: str, health: str) -> Target:
    """Made once: each sync has one for each instance, at each reading."""
    return Target(key=str(pk), label=RdsInstance.label_of(pk, name), is_down=health in UNREADABLE)


def _having(*switches: str) -> Targets:
    """The active instances with these switches on."""
    return Targets(
        _instances,
        lambda rows: [
            _target(row["id"], row["name"], row["health"])
            for row in rows
            if all(row[switch] for switch in switches)
        ],
    )


active_targets = _having()
ghost_targets = _having("has_ghosts")
tenant_targets = _having("has_tenants")
master_target = _having("is_master")


def target_groups() -> dict[str, TargetGroup]:
    """The groups and labels of the instances that have any, active or not."""
    rows = RdsInstance.objects.exclude(group="", labels=[])
    return {
        str(pk): TargetGroup(group, frozenset(labels))
        for pk, group, labels in rows.values_list("pk", "group", "labels")
    }


def _named(run: Run) -> set[int]:
    """Return the ids that the run's options name, none for all."""
    keys = {int(key) for key in run.options.targets}
    if run.options.failed_from is None:
        return keys
    failed = {int(key) for key in failed_in(run.options.failed_from)}
    keys = failed & keys if keys else failed
    if not keys:
        raise UsageError(f"nothing failed in run {run.options.failed_from}")
    return keys


def _skip_gone(run: Run, keys: Collection[int], what: str) -> None:
    """Record the instances that take no part any more as skipped."""
    left = RdsInstance.objects.in_bulk(keys)
    labels = {key: str(left.get(key, f"instance {key}")) for key in sorted(keys)}
    run.expect(Target(str(key), label) for key, label in labels.items())
    for key, label in labels.items():
        note = f"{label} {_why_gone(left.get(key), what)}"
        run.record_outcome(str(key), TargetState.SKIPPED, note=note)


def _why_gone(instance: RdsInstance | None, what: str) -> str:
    if instance is None:
        return "was deleted after it was asked for"
    if not instance.is_active:
        return "was deactivated after it was asked for"
    return f"has no {what}, by its settings"


def _addresses(keys: Collection[str]) -> dict[str, str]:
    """Return the pages of those that are still registered."""
    known = RdsInstance.objects.filter(pk__in=keys).values_list("pk", flat=True)
    return {str(pk): reverse("admin:tenants_rdsinstance_change", args=[pk]) for pk in known}


INSTANCES = Pages(_addresses, "tenants.view_rdsinstance")
