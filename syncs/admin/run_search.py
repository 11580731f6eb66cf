"""The search of the list of runs: by id, instance, person, and words of an error.

No text of millions of runs is in an index, so of errors the newest are looked through, and of what
each way finds, the newest are kept.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection

from syncs.engine import registry
from syncs.models import RunState

KEPT = 500  # runs that each way finds
MOST_NAMES = 5  # instances, and people, whose name has the term in it
FAILED_RUNS = 1_000  # of each bad state, whose own errors are looked through
FAILED_PARTS = 20  # of each bad state, whose instances' errors are
BAD = (RunState.FAILED, RunState.PARTIAL, RunState.LOST)
LONGEST_ID = 18  # digits

_FOUND = """
    SELECT id FROM syncs_syncrun WHERE id = %(id)s::bigint
     UNION
    SELECT part.run_id FROM unnest(%(targets)s::text[]) AS wanted (target)
     CROSS JOIN LATERAL (
           SELECT run_id FROM syncs_runtarget
            WHERE target BETWEEN wanted.target AND wanted.target
            ORDER BY target, run_id DESC LIMIT %(kept)s) AS part
     UNION
    SELECT run.id FROM unnest(%(people)s::text[]) AS wanted (actor)
     CROSS JOIN LATERAL (
           SELECT id FROM syncs_syncrun
            WHERE actor BETWEEN wanted.actor AND wanted.actor AND actor <> ''
            ORDER BY actor, id DESC LIMIT %(kept)s) AS run
     UNION
    SELECT bad.id FROM unnest(%(states)s::text[]) AS wanted (state)
     CROSS JOIN LATERAL (
           SELECT id, error FROM syncs_syncrun
            WHERE state BETWEEN wanted.state AND wanted.state
            ORDER BY state, id DESC LIMIT %(runs)s) AS bad
     WHERE bad.error ILIKE %(words)s
     UNION
    SELECT bad.id FROM unnest(%(states)s::text[]) AS wanted (state)
     CROSS JOIN LATERAL (
           SELECT id FROM syncs_syncrun
            WHERE state BETWEEN wanted.state AND wanted.state
            ORDER BY state, id DESC LIMIT %(parts)s) AS bad
     CROSS JOIN LATERAL (
           SELECT FROM syncs_runtarget WHERE run_id = bad.id AND error ILIKE %(words)s
            LIMIT 1) AS part"""


def matching(term: str) -> list[int]:
    """The ids of runs that the term finds, in one query and one for the names of people."""
    words = term.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    number = term.removeprefix("run").strip()
    wanted: dict[str, Any] = {
        "id": int(number) if number.isdecimal() and len(number) <= LONGEST_ID else None,
        "targets": _targets(term),
        "people": _people(term),
        "states": [*BAD],
        "words": f"%{words}%",
        "kept": KEPT,
        "runs": FAILED_RUNS,
        "parts": FAILED_PARTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FOUND, wanted)
        return [pk for (pk,) in cursor.fetchall()]


def _targets(term: str) -> list[str]:
    """The keys of instances that are called so."""
    known = {t.key: t.label for sync in registry.scheduled_syncs() for t in sync.targets()}
    wanted = term.casefold()
    named = [key for key, label in known.items() if wanted in label.casefold()]
    return [*dict.fromkeys([term, *named])][:MOST_NAMES]


def _people(term: str) -> list[str]:
    names = get_user_model()._default_manager.filter(username__icontains=term)
    return [*dict.fromkeys([term, *names.values_list("username", flat=True)[:MOST_NAMES]])]
