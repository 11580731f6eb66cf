"""What a run of the ghost users tells a person of what it did on the instances."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from django.contrib.auth.models import User

from common.errors import RainboError
from common.text import listed
from syncs.engine.run import Run
from tenants.fleet import connections
from tenants.ghosts.plan import InstanceResult
from tenants.ghosts.policy import PLAIN, Ghost, GhostOutcome, is_admin_id

InstanceOutcome = connections.Outcome[InstanceResult]

STRANGE = {
    GhostOutcome.REFUSED: "refused: another account is in the way",
    GhostOutcome.ALTERED: "altered there, so that RAINBO can't retire them",
    GhostOutcome.UNKNOWN: "unknown ghost users",
}


class Unrecorded(RainboError):
    """Instances were written and RAINBO's own database failed before that was recorded."""

    passing = True


def missed(answer: InstanceResult) -> str:
    return "; ".join(str(ghost) for ghost in answer.ghosts if ghost.outcome is GhostOutcome.MISSED)


def log_problems(run: Run, key: str, answer: InstanceResult) -> str:
    """Log each ghost that a person should look at; returns the note that sums them up."""
    found = [ghost.outcome for ghost in answer.ghosts]
    for ghost in answer.ghosts:
        if ghost.outcome in STRANGE:
            run.log(str(ghost), key, "warning")
    if foreign := found.count(GhostOutcome.FOREIGN):
        run.log(f"{foreign} ghost users of another RAINBO were left alone", key)
    if answer.plain:
        run.log(
            "it can't hold the names of all admins, so its ghost users got plain ones: "
            f"ASCII letters, at most {PLAIN}",
            key,
        )
    notes = [f"{found.count(kind)} {words}" for kind, words in STRANGE.items() if kind in found]
    return "; ".join([*notes, "see the log"]) if notes else ""


def deleted(part: InstanceOutcome) -> str:
    """Of an instance that was deleted from RAINBO during the run."""
    answer = part.value
    made = 0 if answer is None or answer.reasons else answer.counts["added"]
    left = f"; {made} ghost users were made there and stay active" if made else ""
    return f"{part.instance} was deleted from RAINBO during the run{left}"


def unrecorded(parts: Iterable[InstanceOutcome]) -> str:
    """Of instances that committed what RAINBO could not record; empty when there are none."""
    written = [str(p.instance) for p in parts if p.value is not None and not p.value.reasons]
    if not written:
        return ""
    return (
        f"ghost users may have been written on {', '.join(written)} and this was not recorded; "
        "the next run finds out"
    )


MOST = 20  # names in one line
DONE = {
    GhostOutcome.CREATED: "added",
    GhostOutcome.REACTIVATED: "reactivated",
    GhostOutcome.CHANGED: "changed",
    GhostOutcome.DEACTIVATED: "deactivated",
}


def usernames(admins: Collection[int]) -> dict[int, str]:
    """Of those whom RAINBO still has."""
    return dict(User.objects.filter(pk__in=admins).values_list("pk", "username"))


def only_in_words(only: Sequence[str]) -> str:
    """`ann (5), bob (7)`: what a request's admin ids stand for."""
    first = [int(key) for key in only[:MOST] if is_admin_id(key)]
    return listed(_named(only, usernames(first)), MOST)


def log_changes(run: Run, parts: Sequence[InstanceOutcome]) -> None:
    """One line in the log for each instance where a ghost user was, or would be, written."""
    done = {str(part.instance.pk): _done(part) for part in parts}
    ids = {int(key) for found in done.values() for keys in found.values() for key in keys}
    names = usernames(ids)
    wished = {str(p.instance.pk) for p in parts if p.value and (run.dry_run or p.value.reasons)}
    for key, found in done.items():
        told = [f"{word} {listed(_named(keys, names), MOST)}" for word, keys in found.items()]
        if told:
            run.log(f"{'would have ' if key in wished else ''}{'; '.join(told)}", key)


def _done(part: InstanceOutcome) -> dict[str, list[str]]:
    """The admins' ids by what was done with their ghosts."""
    ghosts = part.value.ghosts if part.value else []
    done = ((word, _of(ghosts, outcome)) for outcome, word in DONE.items())
    return {word: keys for word, keys in done if keys}


def _of(ghosts: Iterable[Ghost], outcome: GhostOutcome) -> list[str]:
    keys = (ghost.admin_id for ghost in ghosts if ghost.outcome is outcome)
    return sorted(filter(None, keys), key=int)


def _named(keys: Iterable[str], names: Mapping[int, str]) -> list[str]:
    known = {str(pk): name for pk, name in names.items()}
    return [f"{known.get(key, 'deleted user')} ({key})" for key in keys]
