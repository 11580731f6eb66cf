"""Verifies the caches: rows against the digests of their publish, and against the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import Confirmation, SyncRun, Trigger
from syncs.transfer import digest, proof
from syncs.transfer.digest import Hashing
from syncs.transfer.proof import Cached
from syncs.transfer.session import Session, open_session
from tenants.routes.directory import key_version
from tenants.routes.merge import cached_routes, wrongly_shown
from tenants.summaries.merge import cached_tenants

Form = Callable[[Confirmation, dict[str, str]], Cached]

FORMS: dict[str, Form] = {
    "tenant_summaries": lambda confirmed, facts: cached_tenants(
        confirmed.sync, confirmed.target, Hashing(facts["hash"])
    ),
    "user_routing": lambda confirmed, facts: cached_routes(
        confirmed.sync, confirmed.target, Hashing(facts["hash"]), int(facts["buckets"])
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
    wrongly_shown: int

    @property
    def is_corrupt(self) -> bool:
        return bool(self.unlike_buckets or self.wrong_keys or self.wrongly_shown)


def against_digests() -> Iterator[Proof]:
    """Recompute every digest from the current rows.

    Digests that differ are marked as doubted: the next sync reads their source in full.
    """
    with open_session("verify_cache") as session:
        for confirmed in Confirmation.objects.filter(sync__in=FORMS).order_by("sync", "target"):
            facts = digest.parse_basis(confirmed.basis)
            if _is_comparable(session, facts):  # else recomputed by the next sync
                found = _prove(session, confirmed, facts)
                if found.is_corrupt and digest.DOUBTED not in facts:
                    doubted = digest.format_basis(facts | {digest.DOUBTED: "yes"})
                    same = Confirmation.objects.filter(pk=confirmed.pk, basis=confirmed.basis)
                    same.update(basis=doubted)
                yield found


def against_sources(actor: str) -> Iterator[SyncRun]:
    """Check every source for changes since, by dry runs."""
    for sync in FORMS:
        yield runs.execute(runs.request(sync, Options(dry_run=True), Trigger.COMMAND, actor))


def _is_comparable(session: Session, facts: dict[str, str]) -> bool:
    """Whether digests and keys were made as they would be now."""
    if facts.get("digest") != str(digest.VERSION):
        return False
    return facts.get("key") in (None, key_version(session))


def _prove(session: Session, confirmed: Confirmation, facts: dict[str, str]) -> Proof:
    cached = FORMS[confirmed.sync](confirmed, facts)
    return Proof(
        confirmed.sync,
        confirmed.target,
        confirmed.at,
        confirmed.rows,
        proof.unlike_digests(session, cached),
        cached.buckets,
        *(_of_routes(session, facts) if confirmed.sync == "user_routing" else (0, 0)),
    )


def _of_routes(session: Session, facts: dict[str, str]) -> tuple[int, int]:
    """Count routes that a look-up by e-mail would miss, and those wrongly shown or hidden."""
    found = session.execute(
        "SELECT count(*) FROM user_routes WHERE email_key IS DISTINCT FROM rainbo_email_key(email)"
    ).fetchone()
    return int(found[0]) if found else 0, wrongly_shown(session, int(facts["hidden"]))
