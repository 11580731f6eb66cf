import json
import sys
from typing import Any

from django.core.management.base import CommandParser

from common import manage_command
from common.command import RainboCommand
from common.terminal import printable_line
from common.text import listed
from syncs.management.base import actor
from syncs.models import RunState, SyncRun, TargetState
from tenants.jobs import verify_cache
from tenants.jobs.verify_cache import Proof
from tenants.routes import search_keys
from tenants.routes.search_keys import Version

CORRUPT, INCOMPLETE = 1, 3
ENDED_BY_SOURCES = (RunState.SUCCEEDED, RunState.PARTIAL, RunState.HELD)
READ = (TargetState.SUCCEEDED, TargetState.HELD)


class Command(RainboCommand):
    help = "Check that the caches are what was published, and count what changed at the sources."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: object, **given: Any) -> None:
        keys = search_keys.read()
        proofs = list(verify_cache.against_digests())
        runs = list(verify_cache.against_sources(actor()))
        if given["json"]:
            self._document(keys, proofs, runs)
        else:
            lines = [*_keys_line(keys), *map(_proof_line, proofs), *map(_changes_line, runs)]
            self.stdout.write("\n".join(map(printable_line, lines)))
        if keys.is_outdated or any(proof.is_corrupt for proof in proofs):
            sys.exit(CORRUPT)
        if any(_unread(run) for run in runs):
            sys.exit(INCOMPLETE)

    def _document(self, keys: Version, proofs: list[Proof], runs: list[SyncRun]) -> None:
        document = {
            "search_keys": {
                "made_by": keys.made_by,
                "server": keys.server,
                "outdated": keys.is_outdated,
            },
            "proofs": [
                {
                    "sync": proof.sync,
                    "target": proof.target,
                    "confirmed_at": proof.confirmed_at.isoformat(),
                    "rows": proof.rows,
                    "unlike_buckets": proof.unlike_buckets,
                    "buckets": proof.buckets,
                    "wrong_keys": proof.wrong_keys,
                    "wrongly_shown": proof.wrongly_shown,
                    "corrupt": proof.is_corrupt,
                }
                for proof in proofs
            ],
            "sources": [
                {"sync": run.sync, "run": run.pk, "state": run.state, "changes": _sums(run)}
                for run in runs
            ],
        }
        self.stdout.write(json.dumps(document, indent=2))


def _keys_line(keys: Version) -> list[str]:
    if not keys.is_outdated:
        return []
    then = manage_command.line("rebuild_search_keys")
    return [f"OUTDATED: the keys of e-mails and names were {keys}; some may not be found: {then}"]


def _proof_line(proof: Proof) -> str:
    what = f"{proof.sync} of instance {proof.target}"
    if not proof.is_corrupt:
        return f"{what}: {proof.rows:,} rows are as confirmed at {_time(proof)}."
    return (
        f"{what}: CORRUPT. {proof.unlike_buckets:,} of {proof.buckets:,} buckets differ from what "
        f"was published at {_time(proof)}; {proof.wrong_keys:,} routes have a wrong key, "
        f"{proof.wrongly_shown:,} are shown or withheld by mistake. "
        f"Find out who wrote to the table, then run sync_{proof.sync} to repair the rows."
    )


def _changes_line(run: SyncRun) -> str:
    if unread := _unread(run):
        return f"{run.sync}: not all sources could be read: {'; '.join(unread)}"
    sums = _sums(run)
    if not any(sums.values()):
        return f"{run.sync}: the sources have not changed."
    counts = ", ".join(f"{count:,} {name}" for name, count in sums.items())
    held = [part.label for part in run.targets.all() if part.state == TargetState.HELD]
    review = f" A sync would hold the changes of {listed(held)} for review." if held else ""
    return f"{run.sync}: changed at the sources since the last sync: {counts}.{review}"


def _unread(run: SyncRun) -> list[str]:
    """Return why sources were not read; empty if all were. What a guard would hold was read."""
    parts = [part for part in run.targets.all() if part.state not in READ]
    why = [f"{part.label}: {part.error or part.note or part.state}" for part in parts]
    if run.error or (not why and run.state not in ENDED_BY_SOURCES):
        why.insert(0, run.error or f"the run is {run.state}")
    return why


def _sums(run: SyncRun) -> dict[str, int]:
    parts = list(run.targets.all())
    return {
        name: sum(getattr(part, name) or 0 for part in parts)
        for name in ("added", "changed", "removed")
    }


def _time(proof: Proof) -> str:
    return f"{proof.confirmed_at:%Y-%m-%d %H:%M:%S} UTC"
