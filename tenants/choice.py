"""Which instances a run takes."""

from __future__ import annotations

from syncs.errors import UsageError
from syncs.models import RunTarget, TargetState
from syncs.run import Run
from syncs.specs import Target
from tenants.models import RdsInstance


def master() -> RdsInstance:
    """The active master. Raises UsageError, saying what to do, when there is none."""
    found = RdsInstance.objects.filter(is_master=True).first()
    if found is None:
        raise UsageError(
            "no instance is the master: mark the one that holds the directory of e-mails "
            "(add_instance --update --id N --master)"
        )
    if not found.is_active:
        raise UsageError(f"{found} is the master but is not active: activate it")
    return found


def chosen(run: Run) -> list[RdsInstance]:
    """The active instances that the run's options name; all active ones when they name none.

    Raises UsageError for an id that is not registered or not active.
    """
    keys = set(run.options.targets) or None
    if run.options.failed_from is not None:
        failed = RunTarget.objects.filter(
            run=run.options.failed_from, state__in=[TargetState.FAILED, TargetState.WAITING]
        ).values_list("target", flat=True)
        keys = set(failed) & keys if keys else set(failed)
        if not keys:
            raise UsageError(f"nothing failed in run {run.options.failed_from}")
    active = [i for i in RdsInstance.objects.filter(is_active=True) if _named(i, keys)]
    if missing := (keys or set()) - {str(i.pk) for i in active}:
        raise UsageError(f"no active instance has the id {', '.join(sorted(missing))}")
    if not active:
        raise UsageError("no instance is active: register one with add_instance")
    return active


def as_target(instance: RdsInstance) -> Target:
    return Target(str(instance.pk), str(instance))


def active_targets() -> list[Target]:
    return [as_target(instance) for instance in RdsInstance.objects.filter(is_active=True)]


def master_target() -> list[Target]:
    return [as_target(i) for i in RdsInstance.objects.filter(is_master=True, is_active=True)]


def _named(instance: RdsInstance, keys: set[str] | None) -> bool:
    return keys is None or str(instance.pk) in keys
