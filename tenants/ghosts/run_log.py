"""What a ghost user run logs about its work on the instances."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from django.contrib.auth.models import User

from common.errors import RainboError
from common.text import listed
from syncs.engine.run import Run
from syncs.errors import Unequal
from tenants.fleet import connections
from tenants.ghosts.plan import InstanceResult
from tenants.ghosts.policy import PLAIN, Ghost, GhostOutcome, is_admin_id

InstanceOutcome = connections.Outcome[InstanceResult]

PROBLEMS = {
    GhostOutcome.REFUSED: "refused",
    GhostOutcome.MISSED: "missed: the instance did not store them",
    GhostOutcome.ALTERED: "altered there, so that RAINBO can't write them",
    GhostOutcome.UNKNOWN: "unknown ghost users",
}


class Unrecorded(RainboError):
    """Instances were changed, but RAINBO's own database failed before that was recorded."""

    transient = True


def error_of(part: InstanceOutcome) -> Unequal | None:
    """Return whose ghosts are not as they should be on an instance, by name; None if all are.

    Only what the instance did not store can pass by itself: a retry repairs no refusal.
    """
    found = part.value.unequal if part.value else []
    if not found:
        return None
    names = find_usernames({int(ghost.admin_id) for ghost in found if is_admin_id(ghost.admin_id)})
    texts = [_describe_unequal(ghost, names) for ghost in found]
    return Unequal(
        f"{part.instance}: not as it should be: {listed(texts)}",
        transient=any(ghost.outcome is GhostOutcome.MISSED for ghost in found),
    )


def _describe_unequal(ghost: Ghost, names: Mapping[int, str]) -> str:
    whose = _named([ghost.admin_id], names)[0] if is_admin_id(ghost.admin_id) else "nobody's"
    why = ghost.why or "the instance did not store it; another run can repair it"
    return f"{whose} is {ghost.outcome}: {why}"


def log_problems(run: Run, key: str, answer: InstanceResult) -> str:
    """Log each ghost with a problem; return a note that summarizes them."""
    found = [ghost.outcome for ghost in answer.ghosts]
    for ghost in answer.ghosts:
        if ghost.outcome in PROBLEMS:
            run.log(str(ghost), key, "warning")
    if foreign := found.count(GhostOutcome.FOREIGN):
        run.log(f"{foreign} ghost users of another RAINBO were not touched", key)
    if answer.plain:
        run.log(
            "it can't store the names of all admins, so its ghost users got plain ones: "
            f"ASCII letters, at most {PLAIN}",
            key,
        )
    notes = [f"{found.count(kind)} {text}" for kind, text in PROBLEMS.items() if kind in found]
    return "; ".join([*notes, "see the log"]) if notes else ""


def describe_deleted(part: InstanceOutcome) -> str:
    return f"{part.instance} was deleted from RAINBO during the run"


def describe_unrecorded(parts: Iterable[InstanceOutcome]) -> str:
    """Describe instances that committed what could not be recorded; empty without any."""
    written = [str(p.instance) for p in parts if p.value is not None and not p.value.reasons]
    if not written:
        return ""
    return (
        f"ghost users may have been written on {', '.join(written)} and this was not recorded; "
        "the next run checks it"
    )


MOST = 20  # names in one line
DONE = {
    GhostOutcome.CREATED: "added",
    GhostOutcome.REACTIVATED: "reactivated",
    GhostOutcome.CHANGED: "changed",
    GhostOutcome.DEACTIVATED: "deactivated",
}


def find_usernames(admins: Collection[int]) -> dict[int, str]:
    """Return user names of these admins; deleted ones are left out."""
    return dict(User.objects.filter(pk__in=admins).values_list("pk", "username"))


def describe_only(only: Sequence[str]) -> str:
    """Describe a request's admin ids: `ann (5), bob (7)`."""
    first = [int(key) for key in only[:MOST] if is_admin_id(key)]
    return listed(_named(only, find_usernames(first)), MOST)


def log_changes(run: Run, parts: Sequence[InstanceOutcome]) -> None:
    """Log one line for each instance where a ghost user was, or would be, changed."""
    done = {str(part.instance.pk): _changes_of(part) for part in parts}
    ids = {int(key) for found in done.values() for keys in found.values() for key in keys}
    names = find_usernames(ids)
    proposed = {str(p.instance.pk) for p in parts if p.value and (run.dry_run or p.value.reasons)}
    for key, found in done.items():
        texts = [f"{verb} {listed(_named(keys, names), MOST)}" for verb, keys in found.items()]
        if texts:
            run.log(f"{'would have ' if key in proposed else ''}{'; '.join(texts)}", key)


def _changes_of(part: InstanceOutcome) -> dict[str, list[str]]:
    """Return admin ids by what was done with their ghosts."""
    ghosts = part.value.ghosts if part.value else []
    done = ((verb, _of(ghosts, outcome)) for outcome, verb in DONE.items())
    return {verb: keys for verb, keys in done if keys}


def _of(ghosts: Iterable[Ghost], outcome: GhostOutcome) -> list[str]:
    keys = (ghost.admin_id for ghost in ghosts if ghost.outcome is outcome)
    return sorted(filter(None, keys), key=int)


def _named(keys: Iterable[str], names: Mapping[int, str]) -> list[str]:
    known = {str(pk): name for pk, name in names.items()}
    return [f"{known.get(key, 'deleted user')} ({key})" for key in keys]
