"""Reads the master's directory in one run, and proves that the routes equal it.

It reads what differs from the last publish or, if that can't be determined, all of it. What differs
is found by digests of all rows; that nothing does, or nothing but new rows, most runs see by a
count: see `unchanged` and `written`.

Where the digests of the last publish are missing, or were made of something else, those of the
stored rows are computed again. That is sound because a row's hash covers all that is compared and
the key of its e-mail, because who is shown is checked for all routes (sources don't have it), and
because no other run can publish in between: this one's would then be rejected. What makes a row
unusable is not checked again: raise `digest.VERSION` if that changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import log2

from django.conf import settings
from psycopg import sql

from syncs.engine.run import Run
from syncs.errors import NotEqual
from syncs.models import Confirmation
from syncs.transfer import copy_stream, difference, digest, proof, unchanged, written
from syncs.transfer.copy_stream import Probed
from syncs.transfer.digest import EVERY, Hashing
from syncs.transfer.proof import Cached
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage
from syncs.transfer.unchanged import REMEMBERED, Earlier, NotComparable, View
from syncs.transfer.written import Written
from tenants.fleet import contract
from tenants.fleet.reader import Taken, take_all
from tenants.models import RdsInstance
from tenants.routes import merge
from tenants.routes.miscounts import MISCOUNT, MISCOUNTED

KEY_VERSION = 1  # of rainbo_email_key

# A fact of a basis, next to what is remembered of the view that was proved: when digests last were
# compared. Another is MISCOUNTED.
DIGESTED = "digested"

SHARES = 96  # of the digests, one of which each run recomputes from the stored rows
ROWS_PER_BUCKET = 64
BOUNDS = (16, 256)  # of rows per bucket, beyond which the buckets are recomputed
FEWEST = 1024  # buckets
SMALL = 1000  # rows that are always read by difference
LARGE_PART = 5  # reading one of so many rows costs as much as reading all

NOT_PUBLISHED = "stored routes are not what was published"

# Facts that the stored digests depend on, and what a change of one means.
FACTS = {
    "instance": "another instance is the master",
    "identity": "the master is another server",
    "server": "the master runs another version of PostgreSQL",
    "sql": f"{merge.NAME}.sql changed",
    "key": "RAINBO makes another key of an e-mail",
    "digest": "RAINBO computes digests in another way",
    "hash": "the master's rows are hashed in another way",
}


class Directory:
    """The rows that one run stages. `take` decides, inside the source's snapshot, which they are.

    is_whole: all rows, not only those that differ; why: the reason for that. alarming: the stored
    routes are not what was published. differs: whether anything may differ from the last publish.
    by_digests: why it was not enough to count rows (see `unchanged`) and to read those that are new
    (see `written`); empty if it was, or if all were read. recomputed: why the digests of the stored
    rows were computed again; empty if they were not. pulled: how many rows were staged.
    miscounted: the count would have called rows unchanged that are not.
    """

    def __init__(self, run: Run, source: RdsInstance, stage: Stage, alarm: str = "") -> None:
        self.session, self.sync = run.session, run.record.sync
        self.source, self.target, self.stage = source, str(source.pk), stage
        self.query = contract.query(merge.NAME, source.schema_group)
        last = Confirmation.objects.filter(sync=self.sync, target=self.target).first()
        self.last = digest.parse_basis(last.basis) if last else {}
        self.rows, self.now = (last.rows if last else 0), run.now
        self.view: View | None = None
        self.new: Written | None = None
        self.mark: dict[str, object] = {}
        self.by_digests, self.miscounted = "", False
        self.outdated, self.recomputed = "", ""
        self.was_miscounted = MISCOUNTED in self.last and not run.options.force
        self.is_counted, self.is_checked, self.pulled = False, False, 0
        self.is_pulled, self.hashed = False, 0
        self.facts: dict[str, str] = {}
        self.is_whole, self.differs = True, True
        self.why, self.alarming = alarm, bool(alarm)
        if run.options.force:
            self.why = self.why or "it was asked for by --force"
        if not self.why:
            self._check_stored_digests()

    def take(self, source: copy_stream.Connection, hashing: Hashing, probed: Probed) -> Taken:
        kinds = probed.kinds
        self.facts = self._facts(source, hashing)
        self.why = self.why or self._why_not_compare(hashing)
        self._look(source, probed)
        taken = self._take(source, hashing, kinds)
        self.mark = self._mark(source)
        return taken

    def _take(
        self, source: copy_stream.Connection, hashing: Hashing, kinds: dict[str, str]
    ) -> Taken:
        if not self.why:
            rows, self.why = self._find_differences(source, kinds)
        if not self.why:
            self.is_whole = False
            if not self.is_pulled:
                self.pulled = difference.pull(self.stage, self.query, source, self.cached, kinds)
            self.stage.prove(self.target, self.pulled)
            return Taken(rows, self.pulled)
        taken = take_all(self.stage, self.query, self.target, source, hashing, kinds)
        self.stage.prove(self.target, taken.staged)
        self.recomputed = ""
        self.last = {"buckets": str(buckets_for(taken.rows)), "hash": hashing.value}
        return taken

    @property
    def hidden(self) -> int | None:
        """Routes that collided at the last publish; None if every row is evaluated again."""
        return None if self.is_whole else int(self.last["hidden"])

    def basis(self, hidden: int) -> str:
        """Return what this publish's digests are computed from, and which share is next."""
        share = (int(self.last.get("share", -1)) + 1) % SHARES
        kept = {"buckets": self.last["buckets"], "share": share, "hidden": hidden}
        return digest.format_basis(self.facts | kept | self.mark)

    @property
    def cached(self) -> Cached:
        return self._cached(EVERY)

    @contextmanager
    def proving(self) -> Iterator[None]:
        """Prove that the block's merge makes the routes equal to their source. Raises NotEqual."""
        session, stage = self.session, self.stage
        if not self.differs:  # no digest does, and no row is touched
            yield
            if self.recomputed:
                proof.publish_digests(session, self.cached, self.cached.kept, difference.THEIRS)
        elif self.is_whole:
            yield
            cached = self.cached
            proof.publish_withheld(session, self.sync, [self.target], stage)
            proof.publish_digests(session, cached, cached.digests(), cached.staged(stage))
        else:
            self._prove_neighbours()
            touched = self._cached(merge.WITHIN)
            difference.store_digests(session, self._cached(merge.WITHIN, merge.NOW))
            yield
            proof.publish_withheld(session, self.sync, [self.target], stage, merge.WITHIN)
            ours = difference.adjusted(touched)
            proof.publish_digests(session, touched, ours, difference.THEIRS)

    def _prove_neighbours(self) -> None:
        """Raise NotEqual if a row that decides who is shown may not be the source's."""
        session, cached = self.session, self.cached
        some = sql.SQL("SELECT FROM ({}) AS neighbours LIMIT 1").format(merge.NEIGHBOURS)
        if not session.execute(some).rowcount:
            return
        buckets = sql.SQL("bucket IN (SELECT {} FROM ({}) AS neighbours)").format(
            digest.bucket(sql.Identifier("source_id"), cached.buckets, cached.hashing.here),
            merge.NEIGHBOURS,
        )
        if proof.unlike_digests(session, cached, buckets):
            raise NotEqual(f"{NOT_PUBLISHED}; nothing was published")

    def _cached(self, within: sql.Composable, table: str = "user_routes") -> Cached:
        hashing, buckets = Hashing(self.last["hash"]), int(self.last["buckets"])
        digests = {"digests_in": difference.RECOMPUTED} if self.recomputed else {}
        return merge.cached_routes(
            self.sync, self.target, hashing, buckets, within, table, **digests
        )

    def _check_stored_digests(self) -> None:
        """Set `outdated` if digests are missing, `why` if they are doubted."""
        if not {*FACTS, "buckets", "share", "hidden"} <= self.last.keys():
            self.outdated = "no digests were kept"
        elif digest.DOUBTED in self.last:
            self.why, self.alarming = NOT_PUBLISHED, True

    def _check_stored_rows(self) -> None:
        """Set `alarming`, once, if rows differ from a share of the digests or are wrongly shown."""
        if self.is_checked:
            return
        self.is_checked = True
        if self.recomputed:
            difference.recompute(self.session, self.cached)
            hidden = int(self.last["hidden"])
            self.alarming = bool(
                merge.shown_twice(self.session) or merge.wrongly_shown(self.session, hidden)
            )
            return
        share = sql.SQL("bucket % {} = {}").format(
            sql.Literal(SHARES), sql.Literal(int(self.last["share"]))
        )
        self.alarming = bool(
            proof.unlike_digests(self.session, self.cached, share)
            or merge.wrongly_shown(self.session, int(self.last["hidden"]))
        )

    def _facts(self, source: copy_stream.Connection, hashing: Hashing) -> dict[str, str]:
        return {
            "instance": self.target,
            "identity": self.source.identity,
            "server": str(source.info.server_version // 10_000),
            "sql": contract.fingerprint(merge.NAME, self.source.schema_group),
            "key": key_version(self.session),
            "digest": str(digest.VERSION),
            "hash": hashing.value,
        }

    def _why_not_compare(self, hashing: Hashing) -> str:
        """Return why no digests of the stored rows can be compared; empty if any can.

        Sets `recomputed` if those of the last publish can't.
        """
        if hashing is Hashing.MD5_BYTES:
            return "the master's texts have no encoding"
        changed = (what for name, what in FACTS.items() if self.last[name] != self.facts[name])
        outdated = self.outdated or next(changed, "")
        if not outdated:
            return ""
        if not settings.RAINBO_ROUTES_RECOMPUTE:
            return f"{outdated}, and RAINBO_ROUTES_RECOMPUTE is off"
        if self.last.get("digest", self.facts["digest"]) != self.facts["digest"]:
            return FACTS["digest"]
        rows, hidden = self.session.execute(
            "SELECT count(*), count(withheld_reason) FROM user_routes"
        ).fetchone() or (0, 0)
        if not rows:
            return outdated
        self.recomputed = outdated
        made_of = {"buckets": str(buckets_for(rows)), "hash": hashing.value, "hidden": str(hidden)}
        self.last = made_of | {"share": self.last.get("share", "-1")}
        return ""

    def _look(self, source: copy_stream.Connection, probed: Probed) -> None:
        """Set `view`, or `by_digests` if nothing can be said without reading rows."""
        self.view, self.new, self.by_digests = None, None, ""
        self.is_counted, self.miscounted, self.pulled = False, False, 0
        self.is_pulled, self.hashed = False, 0
        if not settings.RAINBO_ROUTES_DIGEST_PERIOD:
            self.by_digests = "RAINBO_ROUTES_DIGEST_PERIOD is 0"
            return
        try:
            self.view = unchanged.look(source, self.query, probed)
        except NotComparable as error:
            self.by_digests = str(error)

    def _mark(self, source: copy_stream.Connection) -> dict[str, object]:
        """Return what to remember of the view that is proved with this publish."""
        wrong: dict[str, object] = (
            {MISCOUNTED: "yes"} if self.miscounted or self.was_miscounted else {}
        )
        if self.is_counted and not self.differs:  # they are the rows of the view before
            return {name: self.last[name] for name in (*REMEMBERED, DIGESTED)}
        if self.view is None or not unchanged.is_on_disk(source, self.view):
            return wrong
        digested = self.last[DIGESTED] if self.is_counted else int(self.now().timestamp())
        return wrong | self.view.as_facts() | {DIGESTED: digested}

    def _count(self, source: copy_stream.Connection, kinds: dict[str, str]) -> int | None:
        """Return how many rows there are if those of the last publish are, but for those staged.

        Sets `pulled` to the number of these, and `by_digests` if a count does not prove that.
        """
        earlier = Earlier.of_facts(self.last, self.rows)
        found = None
        if self.view is None:
            return None
        if self.was_miscounted:
            self.by_digests = f"{MISCOUNT}, before; --force lifts this"
        elif earlier is None:
            self.by_digests = "nothing is remembered of the last publish's snapshot"
        elif why := earlier.why_not(self.view):
            self.by_digests = why
        else:
            replaced, every = self._cached(written.WITHIN), self.cached
            self.new = Written(
                self.stage, source, self.query, replaced, every, kinds, self.view, earlier
            )
            if earlier.expects_deletes(self.view):
                self.by_digests = "rows were deleted"
                return None
            found = unchanged.count(source, self.view, earlier, self._check_stored_rows)
            self.by_digests = found.why_not(earlier)
            if found.newer and not found.others:
                self.by_digests = self.new.read(found)
                self.pulled = found.newer
        return found.rows if found and not self.by_digests else None

    def _explain(self, rows: int) -> bool:
        """Whether new rows, which it stages, and deleted ones are all that differs."""
        pulled = self.new.explain(rows) if self.new else None
        if pulled is None:
            written.leave_to_hashes(self.stage, self.target)
            return False
        self.pulled, self.is_pulled = pulled, True
        return True

    def _is_due(self) -> bool:
        """Whether digests of all rows are to be compared, whatever a count says."""
        since = int(self.now().timestamp()) - int(self.last.get(DIGESTED, 0))
        return not 0 <= since < settings.RAINBO_ROUTES_DIGEST_PERIOD

    def _find_differences(
        self, source: copy_stream.Connection, kinds: dict[str, str]
    ) -> tuple[int, str]:
        """Return the source's row count, and why a full read is needed; else fills `differing`."""
        session, query, cached = self.session, self.query, self.cached
        check = self._check_stored_rows
        rows = self._count(source, kinds)
        if rows is not None and not self._is_due() and not self.alarming:
            self.is_counted, self.is_pulled, self.differs = True, True, bool(self.pulled)
            if not self.differs:
                difference.mark_none(session)
            return rows, ""
        written.leave_to_digests(self.stage, self.target)
        found = difference.compare(session, source, query, cached, check, kinds)
        if rows is not None:
            self.by_digests = "it is time to check what counts said"
        if self.alarming:
            return found.rows, NOT_PUBLISHED
        if not _in_bounds(found.rows, cached.buckets):
            return found.rows, "the directory outgrew its digests"
        if found.rows > SMALL and found.changed > found.rows / LARGE_PART:
            self.miscounted = rows is not None
            return found.rows, "a large part of the directory changed"
        self.differs = bool(found.unlike)
        if not self.differs:
            difference.mark_none(session)
            return found.rows, ""
        if rows is not None or not self._explain(found.rows):
            difference.refine(session, source, query, cached, found.unlike, kinds)
            self.hashed = len(found.unlike)
        self.miscounted = rows is not None and written.others_differ(session)
        if difference.has_no_id(session):
            return found.rows, "rows without an id, or with a very long one, changed"
        return found.rows, ""


def key_version(session: Session) -> str:
    """Return the version of e-mail keys: they depend on the Unicode tables of the database."""
    return f"{KEY_VERSION}/{session.info.server_version // 10_000}"


def buckets_for(rows: int) -> int:
    """Return the number of buckets for so many rows: a power of two."""
    return max(FEWEST, 1 << round(log2(max(1, rows) / ROWS_PER_BUCKET))) if rows > 64 else FEWEST


def _in_bounds(rows: int, buckets: int) -> bool:
    return rows <= buckets * BOUNDS[1] and (buckets == FEWEST or rows >= buckets * BOUNDS[0])
