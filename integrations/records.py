"""Merges what a plugin yielded into the stored records: only what differs is written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from integrations.plugin import Gone, Item, Record, Refused, Unchanged, Whole
from syncs.transfer.session import Session

LONGEST_ID = 512
LONGEST_TITLE = 1000
LARGEST = 1_000_000  # characters of a record's JSON
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
TEXTS = 5  # of a record, without its body
Key = tuple[str, str]  # kind and external id

_DIFFERENT = """
    SELECT given.kind, given.id, known.id, known.body, known.gone_at IS NOT NULL
      FROM unnest(%(kinds)s::text[], %(ids)s::text[], %(hashes)s::bytea[]) AS given (kind, id, hash)
      LEFT JOIN integrations_externalrecord AS known
        ON known.connection_id = %(connection)s AND known.kind = given.kind
           AND known.external_id = given.id
     WHERE known.id IS NULL OR known.hash <> given.hash OR known.gone_at IS NOT NULL"""
_WRITE = """
    INSERT INTO integrations_externalrecord AS known (
           connection_id, kind, external_id, hash, body, title, link, occurred_at,
           first_seen_at, changed_at, run_id)
    SELECT %(connection)s, kind, id, hash, body::jsonb, title, link, occurred_at,
           %(at)s, %(at)s, %(run)s
      FROM unnest(%(kinds)s::text[], %(ids)s::text[], %(hashes)s::bytea[], %(bodies)s::text[],
                  %(titles)s::text[], %(links)s::text[], %(times)s::timestamptz[])
           AS given (kind, id, hash, body, title, link, occurred_at)
        ON CONFLICT (connection_id, kind, external_id) DO UPDATE
       SET hash = excluded.hash, body = excluded.body, title = excluded.title,
           link = excluded.link, occurred_at = excluded.occurred_at,
           changed_at = excluded.changed_at, gone_at = NULL, run_id = excluded.run_id"""
_REMEMBER = """
    INSERT INTO integrations_recordchange (record_id, field, old, new, at)
    VALUES (%s, %s, %s, %s, %s)"""
_LISTED = """
    SELECT known.kind, known.external_id, known.hash
      FROM integrations_externalrecord AS known
     WHERE known.connection_id = %(connection)s AND known.gone_at IS NULL
       AND EXISTS (
           SELECT FROM unnest(%(whole_kinds)s::text[], %(prefixes)s::text[])
                       AS listed (kind, prefix)
            WHERE listed.kind = known.kind AND starts_with(known.external_id, listed.prefix))"""
_TITLES = """
    SELECT known.kind, known.external_id, known.title
      FROM unnest(%(kinds)s::text[], %(ids)s::text[]) AS given (kind, id)
      JOIN integrations_externalrecord AS known
        ON known.connection_id = %(connection)s AND known.kind = given.kind
           AND known.external_id = given.id"""
_GO = """
    UPDATE integrations_externalrecord AS known SET gone_at = %(at)s, run_id = %(run)s
      FROM unnest(%(kinds)s::text[], %(ids)s::text[]) AS given (kind, id)
     WHERE known.connection_id = %(connection)s AND known.gone_at IS NULL
       AND known.kind = given.kind AND known.external_id = given.id"""
_GO_BY_PREFIX = """
    UPDATE integrations_externalrecord AS known SET gone_at = %(at)s, run_id = %(run)s
     WHERE known.connection_id = %(connection)s AND known.gone_at IS NULL AND EXISTS (
           SELECT FROM unnest(%(whole_kinds)s::text[], %(prefixes)s::text[]) AS given (kind, prefix)
            WHERE given.kind = known.kind AND starts_with(known.external_id, given.prefix))
       AND NOT EXISTS (
           SELECT FROM unnest(%(kinds)s::text[], %(ids)s::text[]) AS kept (kind, id)
            WHERE kept.kind = known.kind AND kept.id = known.external_id)"""


class Prepared(NamedTuple):
    """A record as it is stored."""

    record: Record
    body: str
    hash: bytes


@dataclass
class Chunk:
    """What was yielded between two cursors. read: records, also those that are withheld.

    gone_prefixes, wholes: kinds, each with the beginning of the ids that are meant.
    unchanged: instead of them, that all is as it was.
    """

    records: dict[Key, Prepared] = field(default_factory=dict)
    gone: set[Key] = field(default_factory=set)
    withheld: dict[Key, str] = field(default_factory=dict)
    gone_prefixes: set[Key] = field(default_factory=set)
    wholes: list[Key] = field(default_factory=list)
    read: int = 0
    unchanged: bool = False

    @property
    def is_empty(self) -> bool:
        found = (self.records, self.gone, self.gone_prefixes, self.withheld, self.wholes)
        return not (any(found) or self.unchanged)

    def add(self, item: Item) -> None:
        """Take an item; of one thing, the last word counts."""
        if isinstance(item, Record):  # first: nearly all are
            self._add_record(item)
        elif isinstance(item, Whole):
            self.wholes.append((item.kind, item.prefix))
        elif isinstance(item, Unchanged):
            self.unchanged = True
            self.read += item.read
        elif isinstance(item, Gone):
            self._add_gone(item)
        elif isinstance(item, Refused):
            self._refuse(item)
        else:
            raise TypeError(f"a plugin yields no {type(item).__name__}")

    def _add_gone(self, item: Gone) -> None:
        if not item.is_prefix:
            self.records.pop((item.kind, item.id), None)
            self.gone.add((item.kind, item.id))
            return
        self.gone_prefixes.add((item.kind, item.id))
        for key in [key for key in self.records if is_meant(key, item.kind, item.id)]:
            del self.records[key]

    def _refuse(self, item: Refused) -> None:
        self.read += 1
        key = item.kind, item.id
        self.records.pop(key, None)
        self.gone.discard(key)
        self.withheld[key] = item.why

    def _add_record(self, record: Record) -> None:
        self.read += 1
        key = record.kind, record.id
        prepared = prepare(record)
        if isinstance(prepared, str):
            self.records.pop(key, None)
            self.withheld[key] = prepared
        else:
            self.records[key] = prepared
            if self.withheld:
                self.withheld.pop(key, None)
        if self.gone:
            self.gone.discard(key)


class Stored(NamedTuple):
    """What is stored of a record that differs; None if nothing is."""

    pk: int | None
    body: dict[str, Any] | None
    was_gone: bool


@dataclass(frozen=True)
class Absent:
    """A stored record that a full listing no longer has."""

    kind: str
    id: str
    title: str


@dataclass(frozen=True)
class Merged:
    """What a merge wrote: rows added, changed, removed; back: changed ones that had been gone."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    back: int = 0

    def __add__(self, other: Merged) -> Merged:
        return Merged(
            self.added + other.added,
            self.changed + other.changed,
            self.removed + other.removed,
            self.back + other.back,
        )


def prepare(record: Record) -> Prepared | str:
    """Return the record as it is stored, or why it can't be."""
    if not 0 < len(record.id) <= LONGEST_ID:
        return f"its id has {len(record.id):,} characters: 1 to {LONGEST_ID} can be stored"
    at = record.at.isoformat() if record.at else ""
    # The texts are kept apart by what none of them has: a NUL is rejected below.
    texts = f"{record.kind}\0{record.id}\0{record.title}\0{record.link}\0{at}"
    try:
        data = record.data
        body = _CANONICAL.encode(data if isinstance(data, dict) else dict(data))
        hashed = hashlib.sha256(f"{texts}\0{body}".encode()).digest()[:16]
    except UnicodeEncodeError:
        return "it has a character that is no valid Unicode"
    except (TypeError, ValueError, RecursionError):
        return "it has a value that is no JSON"
    if texts.count("\0") > TEXTS - 1 or ("\\u0000" in body and NUL.search(body)):
        return "it has a NUL character, which PostgreSQL can't store"
    if len(body) > LARGEST:
        return f"it has {len(body):,} characters: {LARGEST:,} can be stored"
    if record.at is not None and record.at.tzinfo is None:
        return "its time has no time zone"
    return Prepared(record, body, hashed)


def is_meant(key: Key, kind: str, prefix: str) -> bool:
    """Whether a record is one of those of this kind whose id begins so."""
    return key[0] == kind and key[1].startswith(prefix)


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can store a text: nothing that it can't was ever stored."""
    return "\0" not in text and (text.isascii() or text.encode(errors="ignore").decode() == text)


def merge(
    session: Session,
    connection: int,
    run: int,
    chunk: Chunk,
    absent: Iterable[Absent],
    listed: Mapping[Key, bytes],
    history: Mapping[str, Sequence[str]],
    at: datetime,
) -> Merged:
    """Write what differs, in the caller's transaction.

    absent: goes too. listed: hashes of stored records, as far as they were read: by `read_listed`.
    """
    added = changed = back = 0
    new = [key for key, given in chunk.records.items() if listed.get(key) != given.hash]
    if new:
        found = _different(session, connection, chunk, new)
        _remember(session, chunk, found, history, at)
        _write(session, connection, run, [chunk.records[key] for key in found], at)
        added = sum(row.pk is None for row in found.values())
        back = sum(row.was_gone for row in found.values())
        changed = len(found) - added
    going = chunk.gone | {(row.kind, row.id) for row in absent}
    removed = _remove(session, connection, run, going, at) if going else 0
    if chunk.gone_prefixes:
        removed += _remove_by_prefix(session, connection, run, chunk, at)
    return Merged(added, changed, removed, back)


def read_listed(session: Session, connection: int, wholes: Sequence[Key]) -> dict[Key, bytes]:
    """Return the hash of each stored record that these listings mean and that is there."""
    given = {"connection": connection, **_prefixes(wholes)}
    return {(kind, key): hashed for kind, key, hashed in session.execute(_LISTED, given)}


def read_absent(session: Session, connection: int, keys: Iterable[Key]) -> list[Absent]:
    """Return these stored records in order."""
    given = {"connection": connection, **_columns(keys)}
    found = [Absent(*row) for row in session.execute(_TITLES, given)]
    return sorted(found, key=lambda row: (row.kind, row.id))


def _different(
    session: Session, connection: int, chunk: Chunk, keys: Sequence[Key]
) -> dict[Key, Stored]:
    hashes = [chunk.records[key].hash for key in keys]
    given = {"connection": connection, "hashes": hashes, **_columns(keys)}
    rows = session.execute(_DIFFERENT, given)
    return {(kind, key): Stored(*stored) for kind, key, *stored in rows}


def _remember(
    session: Session,
    chunk: Chunk,
    found: Mapping[Key, Stored],
    history: Mapping[str, Sequence[str]],
    at: datetime,
) -> None:
    changes = []
    for key, stored in found.items():
        after = chunk.records[key].record.data
        for name in history.get(key[0], ()) if stored.body is not None else ():
            old, new = (stored.body or {}).get(name), after.get(name)
            if old != new:
                changes.append((stored.pk, name, Jsonb(old), Jsonb(new), at))
    if changes:
        with session.cursor() as cursor:
            cursor.executemany(_REMEMBER, changes)


def _write(
    session: Session, connection: int, run: int, rows: Sequence[Prepared], at: datetime
) -> None:
    if not rows:
        return
    records = [row.record for row in rows]
    given: dict[str, Any] = {
        "connection": connection,
        "run": run,
        "at": at,
        "hashes": [row.hash for row in rows],
        "bodies": [row.body for row in rows],
        "titles": [record.title[:LONGEST_TITLE] for record in records],
        "links": [record.link for record in records],
        "times": [record.at for record in records],
        **_columns([(record.kind, record.id) for record in records]),
    }
    session.execute(_WRITE, given)


def _remove(session: Session, connection: int, run: int, going: Iterable[Key], at: datetime) -> int:
    given = {"connection": connection, "run": run, "at": at, **_columns(going)}
    return session.execute(_GO, given).rowcount


def _remove_by_prefix(
    session: Session, connection: int, run: int, chunk: Chunk, at: datetime
) -> int:
    """But not what came after that in the chunk: of one thing, the last word counts."""
    keys = [key for key in chunk.records if any(is_meant(key, *p) for p in chunk.gone_prefixes)]
    given: dict[str, Any] = {"connection": connection, "run": run, "at": at, **_columns(keys)}
    return session.execute(_GO_BY_PREFIX, given | _prefixes(chunk.gone_prefixes)).rowcount


def _prefixes(keys: Iterable[Key]) -> dict[str, list[str]]:
    pairs = list(keys)
    return {"whole_kinds": [kind for kind, _ in pairs], "prefixes": [key for _, key in pairs]}


def _columns(keys: Iterable[Key]) -> dict[str, list[str]]:
    pairs = list(keys)
    return {"kinds": [kind for kind, _ in pairs], "ids": [key for _, key in pairs]}


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is no type of JSON")


# What contains itself is found by how deep it is.
_CANONICAL = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, check_circular=False, default=_refuse
)
