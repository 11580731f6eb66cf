"""Proves the caches again: rows against the digests of their publish, and against the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from syncs import proof, runs
from syncs.digest import Hashing
from syncs.models import Confirmation, SyncRun, Trigger
from syncs.options import Options
from syncs.session import Session, open_session
from tenants import route_merge, tenant_merge

SourceForm = Callable[[str, Hashing], sql.Composable]

FORMS: dict[str, tuple[SourceForm, int]] = {
    "tenant_summaries": (tenant_merge.source_form, tenant_merge.BUCKETS),
    "user_routing": (
        lambda _, hashing: route_merge.source_form(hashing),
        route_merge.BUCKETS,
    ),
}


@dataclass(frozen=True)
class Proof:
    """One instance's rows of one cache, compared with the digests kept when they were published."""

    sync: str
    target: str
    confirmed_at: datetime
    rows: int
    unlike_buckets: int
    buckets: int
    wrong_keys: int

    @property
    def is_corrupt(self) -> bool:
        return bool(self.unlike_buckets or self.wrong_keys)


def against_digests() -> Iterator[Proof]:
    """Recompute every digest from the rows as they stand."""
    with open_session("verify_cache") as session:
        for confirmation in Confirmation.objects.filter(sync__in=FORMS).order_by("sync", "target"):
            yield _prove(session, confirmation)


def against_sources(actor: str) -> Iterator[SyncRun]:
    """Ask every source what changed since, by dry runs."""
    for sync in FORMS:
        yield runs.execute(runs.request(sync, Options(dry_run=True), Trigger.COMMAND, actor))


def _prove(session: Session, confirmation: Confirmation) -> Proof:
    form, buckets = FORMS[confirmation.sync]
    hashing = Hashing(confirmation.basis.rpartition("hash=")[2])
    rows = form(confirmation.target, hashing)
    return Proof(
        confirmation.sync,
        confirmation.target,
        confirmation.at,
        confirmation.rows,
        proof.unlike_digests(
            session, confirmation.sync, confirmation.target, rows, hashing, buckets
        ),
        buckets,
        _wrong_keys(session) if confirmation.sync == "user_routing" else 0,
    )


def _wrong_keys(session: Session) -> int:
    """Routes that a look-up by e-mail would miss."""
    found = session.execute(
        "SELECT count(*) FROM user_routes WHERE email_key IS DISTINCT FROM rainbo_email_key(email)"
    ).fetchone()
    return int(found[0]) if found else 0
