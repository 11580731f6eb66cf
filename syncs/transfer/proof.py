"""Proves, inside a publishing transaction, that a target's rows equal their source."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg import sql

from syncs.errors import NotEqual
from syncs.transfer import digest
from syncs.transfer.digest import EVERY, Hashing
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage


@dataclass(frozen=True)
class Cached:
    """A target's rows as RAINBO holds them, in the form that its source hashes.

    rows: a query that returns (source id, hash) of the stored rows, recomputed from their columns.
    within: a condition on the source ids of the withheld ones.
    """

    sync: str
    target: str
    rows: sql.Composable
    hashing: Hashing
    buckets: int
    within: sql.Composable = field(default_factory=lambda: EVERY)

    @property
    def withheld(self) -> sql.Composed:
        return sql.SQL("{} AND {}").format(
            self._of("SELECT source_id, row_hash, reason FROM syncs_withheldrow"), self.within
        )

    @property
    def kept(self) -> sql.Composed:
        """The digests of the last publish."""
        return self._of("SELECT bucket, rows, xor, sum FROM syncs_bucketdigest")

    def placed(self, where: sql.Composable = EVERY) -> sql.Composed:
        """(id, hash, bucket) of the stored and the withheld rows; where: of which buckets."""
        hashed = sql.SQL("{} UNION ALL SELECT source_id, row_hash FROM ({}) AS withheld").format(
            self.rows, self.withheld
        )
        return digest.placed(hashed, self.buckets, self.hashing.here, where)

    def digests(self, where: sql.Composable = EVERY) -> sql.Composed:
        return digest.by_bucket(self.placed(where))

    def staged(self, stage: Stage) -> sql.Composed:
        """Digests of what was read of the target, by the hashes that came with the rows."""
        hashed = sql.SQL(
            "SELECT {id}, row_hash FROM {table} WHERE target = {target} "
            "UNION ALL SELECT source_id, row_hash FROM {bad} WHERE target = {target}"
        ).format(
            id=sql.Identifier(stage.query.columns[0].name),
            table=stage.table,
            bad=stage.bad,
            target=sql.Literal(self.target),
        )
        return digest.by_bucket(digest.placed(hashed, self.buckets, self.hashing.here))

    def _of(self, query: str) -> sql.Composed:
        return sql.SQL(query + " WHERE sync = {} AND target = {}").format(
            sql.Literal(self.sync), sql.Literal(self.target)
        )


def publish_withheld(session: Session, cached: Cached, stage: Stage) -> None:
    """Store the stage's bad rows as the withheld rows of a target; writes only if they differ."""
    parts = {
        "held": cached.withheld,
        "read": sql.SQL("SELECT source_id, row_hash, reason FROM {} WHERE target = {}").format(
            stage.bad, sql.Literal(cached.target)
        ),
        "sync": sql.Literal(cached.sync),
        "target": sql.Literal(cached.target),
        "within": cached.within,
    }
    differs = session.execute(
        sql.SQL(
            "SELECT EXISTS (({held} EXCEPT ALL {read}) UNION ALL ({read} EXCEPT ALL {held}))"
        ).format(**parts)
    ).fetchone()
    if not differs or not differs[0]:
        return
    for statement in (
        "DELETE FROM syncs_withheldrow WHERE sync = {sync} AND target = {target} AND {within}",
        """INSERT INTO syncs_withheldrow (sync, target, source_id, row_hash, reason, since)
           SELECT {sync}, {target}, read.*, clock_timestamp() FROM ({read}) AS read""",
    ):
        session.execute(sql.SQL(statement).format(**parts))


def publish_digests(
    session: Session, cached: Cached, ours: sql.Composable, theirs: sql.Composable
) -> None:
    """Compare the digests of the target's rows as they are now with those of the source; keep them.

    ours, theirs: queries that return (bucket, rows, xor, sum).
    Raises NotEqual, which takes the whole publish back.
    """
    session.execute(sql.SQL("CREATE TEMP TABLE proved ON COMMIT DROP AS {}").format(theirs))
    if _unlike(session, ours, sql.SQL("SELECT bucket, rows, xor, sum FROM proved")):
        raise NotEqual("digests of cache and source differ; nothing was published")
    _keep(session, cached)


def unlike_digests(session: Session, cached: Cached, where: sql.Composable = EVERY) -> int:
    """Count the buckets whose current rows differ from the digests stored at the publish."""
    kept = sql.SQL("SELECT * FROM ({}) AS kept WHERE {}").format(cached.kept, where)
    return _unlike(session, cached.digests(where), kept)


def _unlike(session: Session, one: sql.Composable, other: sql.Composable) -> int:
    found = session.execute(
        sql.SQL(
            "SELECT count(*) FROM ({}) AS one FULL JOIN ({}) AS other USING (bucket) "
            "WHERE (one.rows, one.xor, one.sum) IS DISTINCT FROM "
            "(other.rows, other.xor, other.sum)"
        ).format(one, other)
    ).fetchone()
    return int(found[0]) if found else 0


def _keep(session: Session, cached: Cached) -> None:
    parts = {"sync": sql.Literal(cached.sync), "target": sql.Literal(cached.target)}
    for statement in (
        """DELETE FROM syncs_bucketdigest WHERE sync = {sync} AND target = {target}
              AND bucket NOT IN (SELECT bucket FROM proved)""",
        """INSERT INTO syncs_bucketdigest AS kept (sync, target, bucket, rows, xor, sum)
           SELECT {sync}, {target}, bucket, rows, xor, sum FROM proved
           EXCEPT
           SELECT sync, target, bucket, rows, xor, sum FROM syncs_bucketdigest
            WHERE sync = {sync} AND target = {target}
               ON CONFLICT (sync, target, bucket) DO UPDATE
              SET rows = excluded.rows, xor = excluded.xor, sum = excluded.sum""",
        "DROP TABLE proved",
    ):
        session.execute(sql.SQL(statement).format(**parts))
