"""Makes, rotates and revokes tokens, and finds the one that a secret belongs to.

A token is written `rbo_<public id>_<secret>`: the id finds the row, the secret (256 random bits)
is compared by its SHA-256 in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError, InternalError, OperationalError, connection, transaction
from django.db.models.functions import Now

from activity.log import COMMAND_LINE
from api import scopes
from api.models import ApiToken
from common.clock import database_now
from common.errors import UsageError
from common.read_only import is_read_only

PREFIX = "rbo"
ENVIRONMENT = "RAINBO_CRON_SECRET"  # the name of the token that it makes
ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
SHAPE = re.compile(r"rbo_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)
NOTED_EVERY = timedelta(minutes=1)  # a use; otherwise each poll would write a row

_NOTHING = b"\0" * 32
_UNNOTED = "coalesce(last_used_at <= statement_timestamp() - %(noted_every)s, true)"
_VALID = f"""
    SELECT id, name, scopes, secret_hash, previous_hash,
           coalesce(previous_until > statement_timestamp(), false),
           {_UNNOTED}
      FROM api_tokens
     WHERE public_id = %(public_id)s AND revoked_at IS NULL
       AND (expires_at IS NULL OR expires_at > statement_timestamp())"""  # noqa: S608 (constants)
_VALID_AND = f"SELECT * FROM ({_VALID}) AS token LEFT JOIN ({{}}) AS also ON true"  # noqa: S608
_NOTE = f"""
    UPDATE api_tokens SET last_used_at = statement_timestamp(), last_used_from = %(address)s
     WHERE id = %(pk)s AND {_UNNOTED}"""  # noqa: S608


class _Stored(NamedTuple):
    pk: int
    name: str
    scopes: list[str]
    secret_hash: bytes
    previous_hash: bytes | None
    in_overlap: bool
    is_unnoted: bool


@dataclass
class Also:
    """What a request reads in the statement that reads its token: one round trip less.

    statement: a SELECT of one row at most, with named parameters. row: what it gave, once a token
    was found to be valid; None without a row.
    """

    statement: str
    parameters: Mapping[str, object]
    row: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a token's row, or the one from the environment (pk is None)."""

    name: str
    scopes: frozenset[str]
    pk: int | None = None

    @property
    def actor(self) -> str:
        """The name in records of runs and schedules."""
        return f"token {self.name}"  # with a colon it would look like a secret

    @property
    def identity(self) -> str:
        """What keeps its requests apart from those of others, whatever names they have."""
        return ENVIRONMENT if self.pk is None else f"token/{self.pk}"

    def may(self, permission: str) -> bool:
        """Whether one of its scopes stands for this permission of a person."""
        return any(permission in scopes.SCOPES[name].permissions for name in self.scopes)


@dataclass(frozen=True)
class NewSecret:
    """A token and its secret, which is shown once."""

    token: ApiToken
    secret: str

    def __repr__(self) -> str:
        return f"NewSecret({self.token})"


def create(
    name: str, wanted: list[str], created_by: str, expires_at: datetime | None = None
) -> NewSecret:
    """Make a token. wanted: scopes. Raises UsageError for what can't be one."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise UsageError("give the token a name of 1 to 100 characters: the program that uses it")
    if not wanted or (unknown := sorted(set(wanted) - set(scopes.SCOPES))):
        what = f"no such scope: {', '.join(unknown)}" if wanted else "give it at least one scope"
        raise UsageError(f"{what}. Scopes are {', '.join(scopes.SCOPES)}")
    if expires_at is not None and expires_at <= database_now():
        raise UsageError("a token must expire in the future")
    if name.upper() == ENVIRONMENT:
        raise UsageError(f"{ENVIRONMENT} is the name of the token from the environment")
    public_id = "".join(secrets.choice(ID_LETTERS) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            token = ApiToken.objects.create(
                name=name,
                public_id=public_id,
                secret_hash=digest(secret),
                scopes=sorted(set(wanted), key=list(scopes.SCOPES).index),
                expires_at=expires_at,
                created_by=created_by,
            )
    except IntegrityError:
        taken = f"there is a token named {name!r}: rotate it, or choose another name"
        raise UsageError(taken) from None
    return NewSecret(token, _written(public_id, secret))


def rotate(token: ApiToken, overlap: timedelta = OVERLAP) -> NewSecret:
    """Give a token a new secret; the present one stays valid for the overlap.

    Raises UsageError for a token that is revoked or has expired, or an overlap out of bounds.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise UsageError("the overlap must be from 0 hours to 30 days")
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.select_for_update().get(pk=token.pk)
        now = database_now()
        if not token.is_valid(now):
            raise UsageError(f"{token} is revoked or has expired: make a new token")
        token.previous_hash = bytes(token.secret_hash) if overlap else None
        token.previous_until = now + overlap if overlap else None
        token.secret_hash, token.rotated_at = digest(secret), now
        token.save(update_fields=["secret_hash", "previous_hash", "previous_until", "rotated_at"])
    return NewSecret(token, _written(token.public_id, secret))


def revoke(token: ApiToken, by: str) -> bool:
    """Revoke a token for ever; return False if it was revoked before."""
    valid = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
    revoked = valid.update(revoked_at=Now(), revoked_by=by, previous_hash=None)
    token.refresh_from_db()
    return bool(revoked)


def makers_gone(rows: Iterable[ApiToken]) -> set[int]:
    """Return the keys of the valid tokens whose makers are users that may no longer sign in."""
    rows = [row for row in rows if row.revoked_at is None and row.created_by != COMMAND_LINE]
    names = {row.created_by for row in rows}
    users = get_user_model().objects.filter(username__in=names, is_active=True)
    active = set(users.values_list("username", flat=True)) if names else set()
    return {row.pk for row in rows if row.created_by not in active}


def caller_of(bearer: str, address: str | None, also: Also | None = None) -> Caller | None:
    """Return who has this secret; None if no valid token has. Takes the same time for both."""
    if cron := _cron_caller(bearer):
        return cron
    found = SHAPE.fullmatch(bearer)
    public_id, secret = found.groups() if found else ("", bearer[:100])
    token = _stored(public_id, also)
    given = digest(secret)
    known = token.secret_hash if token else _NOTHING
    before = token.previous_hash or _NOTHING if token else _NOTHING
    is_current = hmac.compare_digest(given, known)
    is_previous = hmac.compare_digest(given, before)
    if token is None or not (is_current or (is_previous and token.in_overlap)):
        return None
    if token.is_unnoted:
        _note_use(token.pk, address)
    return Caller(token.name, frozenset(token.scopes), token.pk)


def digest(secret: str) -> bytes:
    """SHA-256 of a secret, as it is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def from_environment() -> Caller | None:
    """Return the token that RAINBO_CRON_SECRET makes, if it is set."""
    return Caller(ENVIRONMENT, frozenset(scopes.CRON)) if settings.RAINBO_CRON_SECRET else None


def _cron_caller(bearer: str) -> Caller | None:
    caller, secret = from_environment(), settings.RAINBO_CRON_SECRET
    is_it = caller is not None and hmac.compare_digest(digest(bearer), digest(secret))
    return caller if is_it else None


def _stored(public_id: str, also: Also | None) -> _Stored | None:
    """Read a valid token as every request needs it: by one statement that nothing has to build."""
    statement = _VALID_AND.format(also.statement) if also else _VALID
    given: dict[str, Any] = {"public_id": public_id, "noted_every": NOTED_EVERY}
    row = _first_row(statement, given | dict(also.parameters if also else {}))
    if row is None:
        return None
    own = len(_Stored._fields)
    if also and any(value is not None for value in row[own:]):
        also.row = row[own:]
    return _Stored(*row[:own])


def _first_row(statement: str, given: dict[str, Any]) -> tuple[Any, ...] | None:
    """Read a row by the first statement of a request.

    It finds out by itself whether the session still works, which Django would ask in a round trip
    before it. A session that has ended is replaced, once.
    """
    session: Any = connection
    session.health_check_done = True
    try:
        return _row(statement, given)
    except OperationalError:
        session.health_check_done = False
        session.close_if_health_check_failed()
        if session.connection is not None or session.in_atomic_block:
            raise
        return _row(statement, given)


def _row(statement: str, given: dict[str, Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def _note_use(pk: int, address: str | None) -> None:
    """Of several requests at once, the first one notes it."""
    given: dict[str, Any] = {"pk": pk, "address": address, "noted_every": NOTED_EVERY}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_NOTE, given)
    except InternalError as error:
        if not is_read_only(error):  # such a database can still answer reads
            raise


def _written(public_id: str, secret: str) -> str:
    return f"{PREFIX}_{public_id}_{secret}"
