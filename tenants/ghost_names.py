"""Whose ghost users a run added, changed or deactivated: by the names of their admins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from django.contrib.auth.models import User

from common.text import listed
from syncs.engine.run import Run
from tenants.ghost_words import Part
from tenants.ghosts import Ghost, Outcome, is_admin_id

MOST = 20  # names in one line
DONE = {
    Outcome.CREATED: "added",
    Outcome.REACTIVATED: "reactivated",
    Outcome.CHANGED: "changed",
    Outcome.DEACTIVATED: "deactivated",
}


def usernames(admins: Collection[int]) -> dict[int, str]:
    """Of those whom RAINBO still has."""
    return dict(User.objects.filter(pk__in=admins).values_list("pk", "username"))


def only_in_words(only: Sequence[str]) -> str:
    """`ann (5), bob (7)`: what a request's admin ids stand for."""
    first = [int(key) for key in only[:MOST] if is_admin_id(key)]
    return listed(_named(only, usernames(first)), MOST)


def tell(run: Run, parts: Sequence[Part]) -> None:
    """One line in the log for each instance where a ghost user was, or would be, written."""
    done = {str(part.instance.pk): _done(part) for part in parts}
    ids = {int(key) for found in done.values() for keys in found.values() for key in keys}
    names = usernames(ids)
    wished = {str(p.instance.pk) for p in parts if p.value and (run.dry_run or p.value.reasons)}
    for key, found in done.items():
        told = [f"{word} {listed(_named(keys, names), MOST)}" for word, keys in found.items()]
        if told:
            run.log(f"{'would have ' if key in wished else ''}{'; '.join(told)}", key)


def _done(part: Part) -> dict[str, list[str]]:
    """The admins' ids by what was done with their ghosts."""
    ghosts = part.value.ghosts if part.value else []
    done = ((word, _of(ghosts, outcome)) for outcome, word in DONE.items())
    return {word: keys for word, keys in done if keys}


def _of(ghosts: Iterable[Ghost], outcome: Outcome) -> list[str]:
    keys = (ghost.admin_id for ghost in ghosts if ghost.outcome is outcome)
    return sorted(filter(None, keys), key=int)


def _named(keys: Iterable[str], names: Mapping[int, str]) -> list[str]:
    known = {str(pk): name for pk, name in names.items()}
    return [f"{known.get(key, 'deleted user')} ({key})" for key in keys]
