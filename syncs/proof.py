"""Proves, inside a publishing transaction, that a target's rows equal their source."""

from __future__ import annotations

from psycopg import sql

from syncs import digest
from syncs.digest import Hashing
from syncs.errors import NotEqual
from syncs.session import Session
from syncs.staging import Stage


def publish_withheld(session: Session, sync: str, target: str, stage: Stage) -> None:
    """Make the remembered bad rows of a target those of the stage; writes only if they differ."""
    names = {"bad": stage.bad}
    held = (
        "SELECT source_id, row_hash, reason FROM syncs_withheldrow WHERE sync = %s AND target = %s"
    )
    read = "SELECT source_id, row_hash, reason FROM {bad} WHERE target = %s"
    differs = session.execute(
        sql.SQL(
            f"SELECT EXISTS (({held} EXCEPT ALL {read}) UNION ALL ({read} EXCEPT ALL {held}))"
        ).format(**names),
        [sync, target, target, target, sync, target],
    ).fetchone()
    if differs and differs[0]:
        session.execute(
            "DELETE FROM syncs_withheldrow WHERE sync = %s AND target = %s", [sync, target]
        )
        session.execute(
            sql.SQL(
                "INSERT INTO syncs_withheldrow (sync, target, source_id, row_hash, reason, since) "
                "SELECT %s, target, source_id, row_hash, reason, clock_timestamp() "
                "FROM {bad} WHERE target = %s"
            ).format(**names),
            [sync, target],
        )


def prove_equal(
    session: Session,
    sync: str,
    target: str,
    stage: Stage,
    rows: sql.Composable,
    hashing: Hashing,
    buckets: int,
) -> None:
    """Compare the digests of the target's rows as they are now with those of the source.

    rows: a query that returns (source id, hash) of the target's rows, recomputed from their
    columns. The source's hashes came with the rows, from its own snapshot. Keeps the digests.
    Raises NotEqual, which takes the whole publish back.
    """
    ours = remembered(sync, target, rows, hashing, buckets)
    theirs = _bucketed(_staged(stage, target), hashing, buckets)
    unlike = session.execute(
        sql.SQL(
            "SELECT count(*) FROM ({}) AS ours FULL JOIN ({}) AS theirs USING (bucket) "
            "WHERE (ours.rows, ours.xor, ours.sum) IS DISTINCT FROM "
            "(theirs.rows, theirs.xor, theirs.sum)"
        ).format(ours, theirs)
    ).fetchone()
    if unlike is None or unlike[0]:
        raise NotEqual("digests of cache and source differ; nothing was published")
    _keep(session, sync, target, theirs)


def unlike_digests(
    session: Session,
    sync: str,
    target: str,
    rows: sql.Composable,
    hashing: Hashing,
    buckets: int,
) -> int:
    """How many buckets of the rows as they stand differ from the digests kept at the publish."""
    found = session.execute(
        sql.SQL(
            "SELECT count(*) FROM ({}) AS ours FULL JOIN (SELECT bucket, rows, xor, sum "
            "FROM syncs_bucketdigest WHERE sync = {} AND target = {}) AS kept USING (bucket) "
            "WHERE (ours.rows, ours.xor, ours.sum) IS DISTINCT FROM "
            "(kept.rows, kept.xor, kept.sum)"
        ).format(
            remembered(sync, target, rows, hashing, buckets),
            sql.Literal(sync),
            sql.Literal(target),
        )
    ).fetchone()
    return int(found[0]) if found else 0


def remembered(
    sync: str, target: str, rows: sql.Composable, hashing: Hashing, buckets: int
) -> sql.Composed:
    """Digests of the target's rows, with those of its withheld rows."""
    withheld = sql.SQL(
        "SELECT source_id, row_hash FROM syncs_withheldrow WHERE sync = {} AND target = {}"
    ).format(sql.Literal(sync), sql.Literal(target))
    return _bucketed(sql.SQL("{} UNION ALL {}").format(rows, withheld), hashing, buckets)


def _staged(stage: Stage, target: str) -> sql.Composed:
    return sql.SQL(
        "SELECT {id}, row_hash FROM {table} WHERE target = {target} "
        "UNION ALL SELECT source_id, row_hash FROM {bad} WHERE target = {target}"
    ).format(
        id=sql.Identifier(stage.query.columns[0].name),
        table=stage.table,
        bad=stage.bad,
        target=sql.Literal(target),
    )


def _bucketed(hashed: sql.Composable, hashing: Hashing, buckets: int) -> sql.Composed:
    return digest.by_bucket(
        sql.SQL("SELECT {} AS bucket, hash FROM ({}) AS hashed (id, hash)").format(
            digest.bucket(sql.Identifier("id"), buckets, hashing.here), hashed
        )
    )


def _keep(session: Session, sync: str, target: str, digests: sql.Composable) -> None:
    parts = {"sync": sql.Literal(sync), "target": sql.Literal(target), "digests": digests}
    for statement in (
        "CREATE TEMP TABLE kept_digests ON COMMIT DROP AS {digests}",
        """DELETE FROM syncs_bucketdigest WHERE sync = {sync} AND target = {target}
              AND bucket NOT IN (SELECT bucket FROM kept_digests)""",
        """INSERT INTO syncs_bucketdigest AS kept (sync, target, bucket, rows, xor, sum)
           SELECT {sync}, {target}, bucket, rows, xor, sum FROM kept_digests
               ON CONFLICT (sync, target, bucket) DO UPDATE
              SET rows = excluded.rows, xor = excluded.xor, sum = excluded.sum
            WHERE (kept.rows, kept.xor, kept.sum)
                  IS DISTINCT FROM (excluded.rows, excluded.xor, excluded.sum)""",
        "DROP TABLE kept_digests",
    ):
        session.execute(sql.SQL(statement).format(**parts))
