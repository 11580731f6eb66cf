"""Asks the master, and the instances that it or the cache names, for an e-mail: now."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from common import clock
from common.errors import UsageError
from syncs.transfer import copy_stream
from syncs.transfer.copy_stream import Connection, Query
from tenants.find.live_answers import LIMIT, LiveLookup, LiveRoute, LiveUser, ServerAnswer
from tenants.find.lookup import Lookup
from tenants.fleet import connections, contract, parallel
from tenants.fleet.targets import master
from tenants.models import RdsInstance
from tenants.models.instance import parse_id
from tenants.routes import queries
from tenants.routes.queries import Route, instance_called

OF_MASTER = 0.6  # of the limit
LEAST = 1.0  # seconds for either, however little is left
AT_ONCE = 8  # instances next to the master

# On a server in UTF8, the very expression of rainbo_email_key (with the letters themselves: it may
# read escapes in another way); elsewhere no text is composed.
UTF8_KEY = sql.SQL(
    """lower(CASE WHEN source.email::text COLLATE "C" ~ '[\u212a\u037e\u1fef]'
                  THEN source.email::text
                  ELSE normalize(source.email::text, NFC) END COLLATE "C")"""
)
_OTHER_KEY = sql.SQL('lower(source.email::text COLLATE "C")')

Row = tuple[Any, ...]
T = TypeVar("T")


def ask(found: Lookup, limit: float = LIMIT) -> LiveLookup:
    """Read the e-mail's accounts from the master, then from the instances that have them.

    Takes `limit` seconds at the most, unless that is too little to ask anybody.
    """
    at, began = clock.database_now(), time.monotonic()
    known = found.shown + found.withheld
    ids_here = [route.source_id for route in known]
    directory = ask_master(found.key, ids_here, _patience(limit * OF_MASTER))
    wanted: dict[str, set[str]] = {}
    named: list[Route | LiveRoute] = [*known, *directory.rows]
    for route in named:
        ids = wanted.setdefault(route.instance_id, set())
        if route.user_id is not None:
            ids.add(route.user_id)
    left = _patience(limit - (time.monotonic() - began))
    return LiveLookup(at, directory, ask_instances(found.key, wanted, left))


def _patience(seconds: float) -> float:
    """How long a visit may last so that even one that hangs is left behind in time."""
    return max(LEAST, seconds - parallel.GRACE)


def ask_master(key: str, source_ids: Sequence[str], limit: float) -> ServerAnswer[LiveRoute]:
    """The directory's rows with the key or with these ids."""
    try:
        source = master()
    except UsageError as error:
        return ServerAnswer("the master", problem=str(error))
    (outcome,) = _each([source], "sync_user_routing", {source.pk: source_ids}, key, limit)
    if outcome.error is not None:
        return ServerAnswer(str(source), problem=str(outcome.error))
    rows = _with_key(outcome.value or [], key, source_ids)
    return ServerAnswer(str(source), tuple(_live(row, str(source.pk)) for row in rows))


def ask_instances(
    key: str, wanted: Mapping[str, Collection[str]], limit: float
) -> dict[str, ServerAnswer[LiveUser]]:
    """Each instance's accounts with the key or with the ids that are wanted of it."""
    rows = {str(row.pk): row for row in RdsInstance.objects.filter(pk__in=_numbers(wanted))}
    answers: dict[str, ServerAnswer[LiveUser]] = {}
    queried: list[RdsInstance] = []
    for name in wanted:
        row = rows.get(name)
        if row is None:
            answers[name] = ServerAnswer(instance_called(name), problem="it is not registered")
        elif not row.is_active:
            answers[name] = ServerAnswer(str(row), problem="it is not active")
        elif len(queried) == AT_ONCE:
            answers[name] = ServerAnswer(str(row), problem=f"only {AT_ONCE} are queried at once")
        else:
            queried.append(row)
    ids = {row.pk: sorted(wanted[str(row.pk)]) for row in queried}
    for outcome in _each(queried, "find_user", ids, key, limit):
        label, name = str(outcome.instance), str(outcome.instance.pk)
        if outcome.error is not None:
            answers[name] = ServerAnswer(label, problem=str(outcome.error))
        else:
            users = _with_key(outcome.value or [], key, ids[outcome.instance.pk])
            answers[name] = ServerAnswer(label, tuple(LiveUser(*row) for row in users))
    return {name: answers[name] for name in wanted}


def _each(
    instances: Sequence[RdsInstance],
    name: str,
    ids: Mapping[int, Sequence[str]],
    key: str,
    limit: float,
) -> list[connections.Outcome[list[Row]]]:
    def read(instance: RdsInstance, connection: Connection) -> list[Row]:
        query = contract.query(name, instance.schema_group)
        copy_stream.probe(connection, query)
        return _read(connection, query, key, ids[instance.pk])

    return connections.each_instance(instances, read, "find_user", remember=False, limit=limit)


def _read(connection: Connection, query: Query, key: str, ids: Sequence[str]) -> list[Row]:
    in_utf8 = copy_stream.server_encoding(connection) == "UTF8"
    statement = sql.SQL(
        "SELECT {} FROM ({}) AS source WHERE ({}) = %s OR source.id::text = ANY(%s)"
    ).format(
        copy_stream.live_values(query, connection),
        copy_stream.verbatim(query.sql.replace("%", "%%")),
        _key(in_utf8=in_utf8, is_ascii=key.isascii()),
    )
    rows: dict[str, Row] = {}
    for form in {key} if in_utf8 else {key, unicodedata.normalize("NFD", key)}:
        # A server in another encoding has no account with letters that it can't hold.
        with suppress(psycopg.errors.UntranslatableCharacter), connection.transaction():
            found = connection.execute(statement, [form, list(ids)]).fetchall()
            rows |= {row[0]: row for row in found}
    return sorted(rows.values(), key=lambda row: (len(str(row[0])), str(row[0])))


def _key(*, in_utf8: bool, is_ascii: bool) -> sql.Composable:
    """To compose a million e-mails takes seconds: only where it can make a difference.

    What is all ASCII is composed of nothing else, and nothing else is ever composed to it.
    """
    if is_ascii or not in_utf8:
        return _OTHER_KEY
    return sql.SQL(
        "CASE WHEN octet_length(source.email::text) > char_length(source.email::text) THEN {} END"
    ).format(UTF8_KEY)


def _with_key(rows: Sequence[Row], key: str, ids: Collection[str]) -> list[Row]:
    """The rows of the e-mail, by RAINBO's own key, or of these ids."""
    keys = queries.email_keys(row[1] for row in rows)
    return [row for row, own in zip(rows, keys, strict=True) if own == key or row[0] in ids]


def _live(row: Row, master_id: str) -> LiveRoute:
    source_id, email, tenant, instance, *rest = row
    return LiveRoute(source_id, email, tenant, master_id if instance is None else instance, *rest)


def _numbers(names: Iterable[str]) -> list[int]:
    return [number for name in names if (number := parse_id(name)) is not None]
