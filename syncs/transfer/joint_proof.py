"""Proves the rows of many targets at once, inside a publishing transaction: see `proof`.

One statement serves all targets, so that a fleet of a hundred costs little more than one.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from syncs.errors import NotEqual
from syncs.transfer import digest, proof
from syncs.transfer.copy_stream import LONGEST
from syncs.transfer.digest import Hashing, row_hash
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage

_DIGESTS = """
    SELECT target, bucket, count(*) AS rows, bit_xor(hash) AS xor, sum((hash >> 32)::int) AS sum
      FROM ({hashed}) AS hashed GROUP BY target, bucket"""
_UNLIKE = """
    SELECT coalesce(ours.target, theirs.target), count(*)
      FROM ({ours}) AS ours FULL JOIN proved AS theirs USING (target, bucket)
     WHERE (ours.rows, ours.xor, ours.sum) IS DISTINCT FROM (theirs.rows, theirs.xor, theirs.sum)
     GROUP BY 1"""


def prove_staged(stage: Stage, sent: Mapping[str, tuple[int, Hashing]]) -> dict[str, NotEqual]:
    """Compare each target's staged rows with those sent; return the targets that differ.

    Of a row with a long text only the beginning may have been asked for: it is withheld, or the
    publish proves it.
    """
    found: dict[str, tuple[int, int]] = {}
    for hashing, targets in _by_hashing({t: hashing for t, (_, hashing) in sent.items()}).items():
        columns = stage.query.columns
        values = [sql.Identifier(column.name) for column in columns]
        texts = [sql.Identifier(column.name) for column in columns if column.kind == "text"]
        longest = sql.SQL("greatest({})").format(
            sql.SQL(", ").join(sql.SQL("octet_length({})").format(text) for text in texts)
        )
        statement = sql.SQL(
            "SELECT target, count(*), count(*) FILTER (WHERE unlike) FROM ("
            "SELECT target, row_hash IS DISTINCT FROM {hash} AND {longest} < {short} AS unlike "
            "FROM {table} "
            "UNION ALL SELECT target, false FROM {bad}) AS staged "
            "WHERE target = ANY(%s) GROUP BY target"
        ).format(
            hash=row_hash(values, stage.query.kinds, hashing),
            longest=longest,
            short=sql.Literal(LONGEST),
            table=stage.table,
            bad=stage.bad,
        )
        rows = stage.session.execute(statement, [targets])
        found |= {target: (count, unlike) for target, count, unlike in rows}
    return {
        target: NotEqual(
            f"the source sent {rows} rows, {found.get(target, (0, 0))[0]} arrived and "
            f"{found.get(target, (0, 0))[1]} of them differ: none of them is used"
        )
        for target, (rows, _) in sent.items()
        if found.get(target, (0, 0)) != (rows, 0)
    }


def prove_equal(
    session: Session,
    sync: str,
    hashings: Mapping[str, Hashing],
    stage: Stage,
    rows: Mapping[Hashing, sql.Composable],
    buckets: int,
) -> None:
    """Compare the digests of the targets' rows as they are now with those of their sources.

    hashings: how each target's rows are hashed. rows: for each way of hashing here, a query that
    returns (target, source id, hash) of the rows of its targets. Keeps the digests. Raises
    NotEqual, which takes the whole publish back.
    """
    ways = _by_hashing(hashings)
    theirs = [_staged(stage, targets) for targets in ways.values()]
    ours = [
        sql.SQL("{} UNION ALL {}").format(rows[here], _withheld(sync, targets))
        for here, targets in ways.items()
    ]
    session.execute(
        sql.SQL("CREATE TEMP TABLE proved ON COMMIT DROP AS {}").format(
            _digests(dict(zip(ways, theirs, strict=True)), buckets)
        )
    )
    statement = sql.SQL(_UNLIKE).format(ours=_digests(dict(zip(ways, ours, strict=True)), buckets))
    if session.execute(statement).fetchone() is not None:
        raise NotEqual("digests of cache and source differ; nothing was published")
    proof.keep_digests(session, sync, hashings)


def _by_hashing(hashings: Mapping[str, Hashing]) -> dict[Hashing, list[str]]:
    """The targets by the form that gives their hashes here."""
    ways: dict[Hashing, list[str]] = {}
    for target, hashing in hashings.items():
        ways.setdefault(hashing.here, []).append(target)
    return ways


def _staged(stage: Stage, targets: list[str]) -> sql.Composed:
    return sql.SQL(
        "SELECT target, {id}, row_hash FROM {table} WHERE target = ANY({targets}) "
        "UNION ALL SELECT target, source_id, row_hash FROM {bad} WHERE target = ANY({targets})"
    ).format(
        id=sql.Identifier(stage.query.columns[0].name),
        table=stage.table,
        bad=stage.bad,
        targets=sql.Literal(targets),
    )


def _withheld(sync: str, targets: list[str]) -> sql.Composed:
    return sql.SQL(
        "SELECT target, source_id, row_hash FROM syncs_withheldrow "
        "WHERE sync = {} AND target = ANY({})"
    ).format(sql.Literal(sync), sql.Literal(targets))


def _digests(hashed: Mapping[Hashing, sql.Composable], buckets: int) -> sql.Composed:
    """Of queries that return (target, id, hash), one for each way of hashing."""
    bucketed = [
        sql.SQL("SELECT target, {} AS bucket, hash FROM ({}) AS hashed (target, id, hash)").format(
            digest.bucket(sql.Identifier("id"), buckets, here), query
        )
        for here, query in hashed.items()
    ]
    return sql.SQL(_DIGESTS).format(hashed=sql.SQL(" UNION ALL ").join(bucketed))
