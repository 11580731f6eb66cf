"""Proves, inside a publishing transaction, that a target's rows equal their source."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from psycopg import sql

from syncs.errors import NotEqual
from syncs.transfer import digest
from syncs.transfer.digest import EVERY, Hashing
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage

_DIFFERS = """
    WITH held AS (SELECT target, source_id, row_hash, reason FROM syncs_withheldrow
                   WHERE sync = {sync} AND target = ANY({targets}) AND {within}),
         read AS (SELECT target, source_id, row_hash, reason FROM {bad}
                   WHERE target = ANY({targets}))
    SELECT EXISTS ((TABLE held EXCEPT ALL TABLE read) UNION ALL
                   (TABLE read EXCEPT ALL TABLE held))"""
_FORGET = """
    DELETE FROM syncs_withheldrow WHERE sync = {sync} AND target = ANY({targets}) AND {within}"""
_REMEMBER = """
    INSERT INTO syncs_withheldrow (sync, target, source_id, row_hash, reason, since)
    SELECT {sync}, target, source_id, row_hash, reason, clock_timestamp()
      FROM {bad} WHERE target = ANY({targets})"""
_KEEP = (
    """DELETE FROM syncs_bucketdigest AS kept WHERE sync = {sync} AND target = ANY({targets})
          AND NOT EXISTS (SELECT FROM proved
                           WHERE proved.target = kept.target AND proved.bucket = kept.bucket)""",
    """INSERT INTO syncs_bucketdigest AS kept (sync, target, bucket, rows, xor, sum)
       SELECT {sync}, target, bucket, rows, xor, sum FROM proved
       EXCEPT
       SELECT sync, target, bucket, rows, xor, sum FROM syncs_bucketdigest
        WHERE sync = {sync} AND target = ANY({targets})
           ON CONFLICT (sync, target, bucket) DO UPDATE
          SET rows = excluded.rows, xor = excluded.xor, sum = excluded.sum""",
    "DROP TABLE proved",
)


@dataclass(frozen=True)
class Cached:
    """A target's rows as RAINBO holds them, in the form that its source hashes.

    rows: a query that returns (source id, hash) of the stored rows, recomputed from their columns.
    within: a condition on the source ids of the withheld ones. digests_in: the table that has
    the digests to start from.
    """

    sync: str
    target: str
    rows: sql.Composable
    hashing: Hashing
    buckets: int
    within: sql.Composable = field(default_factory=lambda: EVERY)
    digests_in: str = "syncs_bucketdigest"

    @property
    def withheld(self) -> sql.Composed:
        return sql.SQL("{} AND {}").format(
            self._of("SELECT source_id, row_hash, reason FROM syncs_withheldrow"), self.within
        )

    @property
    def kept(self) -> sql.Composed:
        """The digests of the last publish, or those that were computed again since."""
        return self._of("SELECT bucket, rows, xor, sum FROM {}", sql.Identifier(self.digests_in))

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

    def _of(self, query: str, *names: sql.Identifier) -> sql.Composed:
        return sql.SQL(query + " WHERE sync = {} AND target = {}").format(
            *names, sql.Literal(self.sync), sql.Literal(self.target)
        )


def publish_withheld(
    session: Session,
    sync: str,
    targets: Collection[str],
    stage: Stage,
    within: sql.Composable = EVERY,
) -> None:
    """Store the stage's bad rows as the withheld rows of targets; writes only if they differ.

    within: a condition on the source ids of the remembered ones.
    """
    parts = {
        "bad": stage.bad,
        "sync": sql.Literal(sync),
        "targets": sql.Literal([*targets]),
        "within": within,
    }
    differs = session.execute(sql.SQL(_DIFFERS).format(**parts)).fetchone()
    if differs == (True,):
        for statement in (_FORGET, _REMEMBER):
            session.execute(sql.SQL(statement).format(**parts))


def publish_digests(
    session: Session, cached: Cached, ours: sql.Composable, theirs: sql.Composable
) -> None:
    """Compare the digests of the target's rows as they are now with those of the source; keep them.

    ours, theirs: queries that return (bucket, rows, xor, sum).
    Raises NotEqual, which takes the whole publish back.
    """
    session.execute(
        sql.SQL(
            "CREATE TEMP TABLE proved ON COMMIT DROP AS "
            "SELECT {}::text AS target, theirs.* FROM ({}) AS theirs"
        ).format(sql.Literal(cached.target), theirs)
    )
    if _unlike(session, ours, sql.SQL("SELECT bucket, rows, xor, sum FROM proved")):
        raise NotEqual("digests of cache and source differ; nothing was published")
    keep_digests(session, cached.sync, [cached.target])


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


def keep_digests(session: Session, sync: str, targets: Collection[str]) -> None:
    """Make the kept digests of targets those of the temporary table `proved`, and drop it."""
    parts = {"sync": sql.Literal(sync), "targets": sql.Literal([*targets])}
    for statement in _KEEP:
        session.execute(sql.SQL(statement).format(**parts))
