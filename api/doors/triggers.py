"""Runs that a door requests, waits for and sums up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from api import requests
from api.problems import Problem
from api.tokens import Caller
from common.clock import database_now
from common.text import counted
from integrations import selection
from syncs.engine import registry
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.models import RunState, RunTarget, SyncRun, TargetState, Trigger
from syncs.status import queries

POLL_AFTER = "2"  # seconds
UNDONE = (TargetState.FAILED, TargetState.HELD, TargetState.WAITING)


@dataclass(frozen=True)
class Sum:
    """What some runs did.

    ended: none of them is open. success: whether all succeeded; None while one is open, and if it
    is unknown: nothing ran, or one was skipped and none ended badly.
    targets: instances or connections that they dealt with. owners: the people whose connections
    these are; of instances, as many as there are. Of both, those that were fresh don't count.
    fresh: parts that were skipped since they were read less than half a period ago. skipped: all
    that were skipped, with these. succeeded, failed: their parts; a held part counts as failed, and
    so does a run that ended badly without any such part. read, added, changed, removed: rows, as
    far as they are known. milliseconds: from the first request on.
    """

    runs: tuple[SyncRun, ...]
    ended: bool
    success: bool | None
    targets: int
    owners: int
    succeeded: int
    failed: int
    fresh: int
    skipped: int
    read: int
    added: int
    changed: int
    removed: int
    milliseconds: int

    @property
    def message(self) -> str:
        """The result in one sentence; of open runs how far they are, and who doesn't work."""
        if not self.ended:
            return _progress(self.runs)
        if self.success is None:
            return "Sync was skipped: another run of it was in progress"
        if self.success and self.fresh and not self.succeeded:
            return f"Nothing was synced: {self._fresh}"
        said = "Sync completed" if self.success else "Sync completed with failures"
        return f"{said}; {self._fresh}" if self.fresh else said

    @property
    def counts(self) -> dict[str, int]:
        """Keys that every door's document has, so that 0 synced is never taken for all synced."""
        return {"freshCount": self.fresh, "skippedCount": self.skipped}

    @property
    def _fresh(self) -> str:
        verb = "was" if self.fresh == 1 else "were"
        return f"{counted(self.fresh, 'target')} {verb} skipped, synced {selection.FRESH}"

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [{"runId": run.pk, "sync": run.sync, "state": run.state} for run in self.runs]


def registered(names: Iterable[str]) -> list[Sync]:
    """Return the syncs of these names that exist here, without services that nobody connected."""
    wanted = set(names)
    known = [sync for sync in registry.all_syncs() if sync.name in wanted]
    return [sync for sync in known if sync.cron or sync.targets()]


def trigger(request: HttpRequest, caller: Caller, syncs: Sequence[Sync]) -> Sum:
    """Request a run of each sync, or join what waits, and wait as long as the client wants."""
    requested = [requests.request_run(sync, Options(), caller).run for sync in syncs]
    return sum_up(_wait(requested, _seconds(request, requests.LONGEST_WAIT)))


def look(request: HttpRequest, names: Iterable[str], keys: str) -> Sum:
    """Sum up runs that were requested before. keys: their ids, separated by commas.

    Raises Problem 404 for a run that isn't one of these syncs.
    """
    wanted = sorted({int(key) for key in keys.split(",")})
    found = list(SyncRun.objects.filter(pk__in=wanted, sync__in=names).order_by("pk"))
    if len(found) < len(wanted):
        raise Problem(404, "There is no such run, or it was deleted meanwhile.")
    return sum_up(_wait(found, _seconds(request, 0)))


def keys(runs: Iterable[SyncRun]) -> str:
    """Return the ids as `look` takes them."""
    return ",".join(str(run.pk) for run in runs)


def respond(done: Sum, document: Mapping[str, Any], location: str) -> HttpResponse:
    """Answer 200 if all has ended, else 202 with the address that says how it goes on."""
    headers = {} if done.ended else {"Location": location, "Retry-After": POLL_AFTER}
    return JsonResponse(document, status=200 if done.ended else 202, headers=headers)


def sum_up(runs: Sequence[SyncRun]) -> Sum:
    """Return what the runs did so far."""
    parts = list(RunTarget.objects.filter(run__in=runs))
    ended = all(not run.is_open for run in runs)
    succeeded = sum(part.state == TargetState.SUCCEEDED for part in parts)
    return Sum(
        runs=tuple(runs),
        ended=ended,
        success=_success({RunState(run.state) for run in runs}) if ended else None,
        targets=len(targets := {part.target for part in parts if not selection.is_fresh(part)}),
        owners=selection.count_owners(targets),
        succeeded=succeeded,
        failed=sum(
            _failures(run, [part for part in parts if part.run_id == run.pk]) for run in runs
        ),
        fresh=sum(map(selection.is_fresh, parts)),
        skipped=sum(part.state == TargetState.SKIPPED for part in parts),
        read=_rows(parts, "read"),
        added=_rows(parts, "added"),
        changed=_rows(parts, "changed"),
        removed=_rows(parts, "removed"),
        milliseconds=_milliseconds(runs),
    )


def _success(states: set[RunState]) -> bool | None:
    if states - {RunState.SUCCEEDED, RunState.SKIPPED}:
        return False
    return True if states == {RunState.SUCCEEDED} else None


def _progress(runs: Sequence[SyncRun]) -> str:
    """Say whether open runs wait or are executed, and if no worker shows that it works."""
    waiting = sum(run.state == RunState.QUEUED for run in runs)
    is_running = any(run.state == RunState.RUNNING for run in runs)
    said = "Sync is running" if is_running else "Sync is queued"
    if is_running and waiting:
        said = f"{said}, {counted(waiting, 'run')} still queued"
    workers = queries.worker_state()
    by_workers = any(run.is_open and run.trigger != Trigger.COMMAND for run in runs)
    if workers.problem and by_workers and not workers.by_crontab:
        return f"{said}, but {workers.problem}."
    if is_running:
        return f"{said}."
    met = [run.met for run in runs if run.is_open and run.met is not None and run.met.is_open]
    if met:
        return f"{said}: run {met[0].pk} of the same sync is in progress."
    who = "schedule_run has not" if workers.by_crontab else "no worker has"
    return f"{said}: {who} taken it yet."


def _failures(run: SyncRun, parts: list[RunTarget]) -> int:
    """Count what failed; as long as a run is open, a part that waits has not.

    A skipped run has no parts and is no failure: it did nothing.
    """
    bad = UNDONE[:2] if run.is_open else UNDONE
    failed = sum(part.state in bad for part in parts)
    is_bad = not run.is_open and run.state not in (RunState.SUCCEEDED, RunState.SKIPPED)
    return max(failed, 1) if is_bad else failed


def _rows(parts: list[RunTarget], name: str) -> int:
    done = (part for part in parts if part.state == TargetState.SUCCEEDED)
    return sum(getattr(part, name) or 0 for part in done)


def _milliseconds(runs: Sequence[SyncRun]) -> int:
    if not runs:
        return 0
    now = database_now()
    begin = min(run.created_at for run in runs)
    return max(
        (max(run.finished_at or now for run in runs) - begin) // timedelta(milliseconds=1), 0
    )


def _wait(runs: Sequence[SyncRun], seconds: float) -> list[SyncRun]:
    """Wait for all, and return each once: an equal run that a skipped one met replaces that."""
    deadline = time.monotonic() + seconds
    found: dict[int, SyncRun] = {}
    for requested in runs:
        run = requested
        requests.wait_for(run, deadline - time.monotonic())
        met = run.met if run.state == RunState.SKIPPED else None
        if met is not None and met.options == run.options:
            requests.wait_for(met, deadline - time.monotonic())
            run = met
        found.setdefault(run.pk, run)
    return [*found.values()]


def _seconds(request: HttpRequest, usual: int) -> int:
    """Return how long to wait: by `Prefer: wait=N` or `respond-async` (RFC 7240), or the usual."""
    prefer = request.headers.get("Prefer", "").lower()
    says_so = "wait" in prefer or "respond-async" in prefer
    return requests.wanted_wait(prefer) if says_so else usual
