"""Requests of runs: joined, repeated safely by a key, and waited for if the client wants that."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from datetime import timedelta
from typing import Any

from django.db import Error, connection, transaction

from api.models import KeyedRequest
from api.problems import Problem
from api.tokens import Caller
from common.errors import UsageError
from syncs import tasks
from syncs.engine import registry
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.models import SyncRun, Trigger
from syncs.tasks import Requested

KEY_KEPT = timedelta(hours=24)
LONGEST_KEY = 255
LONGEST_WAIT = 20  # seconds: below gunicorn's time-out of 30
WAITING_AT_ONCE = 2  # of a process's four threads: the others go on answering
LOOK_EVERY = 0.2

_places = threading.BoundedSemaphore(WAITING_AT_ONCE)
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})(?![0-9])", re.IGNORECASE)
# One that is older than a day counts as none, whether it was deleted yet or not.
_INSERT = """
    INSERT INTO api_keyed_requests AS known (caller, key, request_hash, run_id, created_at)
    VALUES (%(caller)s, %(key)s, %(digest)s, 0, clock_timestamp())
        ON CONFLICT (caller, key) DO UPDATE
       SET request_hash = excluded.request_hash, run_id = 0, created_at = excluded.created_at
     WHERE known.created_at <= clock_timestamp() - %(kept)s"""


def find_sync(name: str) -> Sync:
    """Return the sync of that name. Raises Problem 404."""
    try:
        return registry.get(name)
    except UsageError:
        known = ", ".join(sync.name for sync in registry.all_syncs())
        raise Problem(404, f"There is no such sync. There are {known}.") from None


def options_for(
    sync: Sync,
    *,
    instances: list[str],
    force: bool = False,
    dry_run: bool = False,
    field: str = "instances",
) -> Options:
    """Return the options of a run. Raises Problem 422 for what this sync can't do.

    field: what the request calls its targets.
    """
    wrong: list[tuple[str, str]] = []
    if instances and not sync.in_parts:
        wrong.append((field, f"{sync.name} can't be limited to some {field}"))
    elif why := _obstacles(sync, set(instances)):
        wrong.append((field, why))
    if force and "force" not in sync.flags:
        wrong.append(("force", f"{sync.name} has no such option: it skips nothing"))
    if wrong:
        errors = [{"field": name, "detail": detail} for name, detail in wrong]
        detail = "; ".join(f"{name}: {detail}" for name, detail in wrong)
        raise Problem(422, f"{detail}.", errors=errors)
    targets = tuple(sorted(set(instances), key=lambda key: (len(key), key)))
    return Options(targets=targets, force=force, dry_run=dry_run)


def _obstacles(sync: Sync, keys: set[str]) -> str:
    """Why some of these targets can't be taken; empty if all can."""
    if sync.obstacles is None:
        missing = sorted(keys - {target.key for target in sync.targets()})
        return f"not part of {sync.name}: {', '.join(missing[:20])}" if missing else ""
    found = sorted(sync.obstacles(keys).items())
    return ", ".join(f"{key}: {why}" for key, why in found[:20])


def request_run(sync: Sync, options: Options, caller: Caller, key: str | None = None) -> Requested:
    """Request a run, or join one that waits and would do the same.

    key: of Idempotency-Key; the same request repeated with it within a day gets the same run.
    Raises Problem 422 if the key was used for another request.
    """
    if key is None:
        return tasks.request(sync.name, options, Trigger.API, caller.actor)
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
        raise Problem(422, f"Idempotency-Key must have 1 to {LONGEST_KEY} printable characters.")
    asked = json.dumps([sync.name, options.as_json()], sort_keys=True).encode()
    digest = hashlib.sha256(asked).digest()
    with transaction.atomic():
        known = KeyedRequest.objects.filter(caller=caller.identity, key=key)
        if not _claimed(caller.identity, key, digest):
            return _repeated(known.get(), digest)
        requested = tasks.request(sync.name, options, Trigger.API, caller.actor)
        known.update(run_id=requested.run.pk)
    return requested


def wanted_wait(prefer: str | None) -> int:
    """Return the seconds of `Prefer: wait=N` (RFC 7240), at most LONGEST_WAIT; 0 without it."""
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), LONGEST_WAIT) if found else 0


def wait_for(run: SyncRun, seconds: float) -> bool:
    """Wait until the run has ended; return whether it has. The record is read again.

    Doesn't wait while others of this process already do, or without RAINBO's own database.
    """
    if seconds <= 0 or not _places.acquire(blocking=False):
        return not run.is_open
    deadline = time.monotonic() + seconds
    try:
        while run.is_open and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            run.refresh_from_db()
    except Error:  # what was asked for is stored: the answer is what was known
        connection.close_if_unusable_or_obsolete()
    finally:
        _places.release()
    return not run.is_open


def _claimed(caller: str, key: str, digest: bytes) -> bool:
    """Whether this request is the first with its key; waits for another that is being stored."""
    with connection.cursor() as cursor:
        given: dict[str, Any] = {"caller": caller, "key": key, "digest": digest, "kept": KEY_KEPT}
        cursor.execute(_INSERT, given)
        return bool(cursor.rowcount == 1)


def _repeated(known: KeyedRequest, digest: bytes) -> Requested:
    if bytes(known.request_hash) != digest:
        raise Problem(422, "This Idempotency-Key was used for another request within the last day.")
    run = SyncRun.objects.filter(pk=known.run_id).first()
    if run is None:
        raise Problem(409, f"Run {known.run_id} of this Idempotency-Key was deleted meanwhile.")
    return Requested(run, joined=True)
