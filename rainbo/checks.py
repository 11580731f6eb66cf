"""System checks: a configuration that breaks a promise of RAINBO does not start."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterator
from typing import Any

import psycopg
from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connection, connections

from common import key_rotation
from common.command import SETTINGS
from common.text import counted
from rainbo import error_reports
from rainbo.auth import roles
from rainbo.auth.backends import EVERYBODY
from rainbo.own_database import differing_defaults
from syncs.engine import registry
from syncs.schedules import crontab
from tenants.routes import partition

OLDEST_LIBPQ = 16
UTF8 = "UTF8"
LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})


@register(SETTINGS)
def own_database(**_: object) -> Iterator[CheckMessage]:
    engine = connections.databases["default"]["ENGINE"]
    if engine != "django.db.backends.postgresql":
        yield Error(
            f"RAINBO's own database uses {engine}.",
            hint="Only django.db.backends.postgresql keeps RAINBO's promises.",
            id="rainbo.E001",
        )


@register(SETTINGS)
def credential_keys(**_: object) -> Iterator[CheckMessage]:
    keys: list[str] = settings.RAINBO_CREDENTIAL_KEYS
    if not keys:
        yield Error("RAINBO_CREDENTIAL_KEYS holds no key.", hint=_NEW_KEY, id="rainbo.E002")
    for position, key in enumerate(keys, 1):
        if not _is_fernet(key):
            yield Error(
                f"Key {position} of RAINBO_CREDENTIAL_KEYS is no Fernet key.",
                hint=_NEW_KEY,
                id="rainbo.E002",
            )
        elif key in _derived_from(settings.SECRET_KEY):
            yield Error(
                f"Key {position} of RAINBO_CREDENTIAL_KEYS is derived from RAINBO_SECRET_KEY.",
                hint="A leak of one would reveal both. " + _NEW_KEY,
                id="rainbo.E003",
            )


_NEW_KEY = (
    "Make one with: python -c "
    "'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)


def _is_fernet(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


def _derived_from(secret: str) -> set[str]:
    """The keys that people usually make out of a secret."""
    raw = secret.encode()
    digests = (hashlib.sha256(raw).digest(), raw[:32].ljust(32, b"0"), raw[:32].ljust(32, b"\0"))
    return {secret, *(urlsafe_b64encode(digest).decode() for digest in digests)}


SHORTEST_SECRET = 32


@register(SETTINGS)
def cron_secret(**_: object) -> Iterator[CheckMessage]:
    """A leak of one secret must not open another door."""
    secret: str = settings.RAINBO_CRON_SECRET
    if not secret:
        return
    others = {
        "RAINBO_SECRET_KEY": [settings.SECRET_KEY],
        "RAINBO_CREDENTIAL_KEYS": settings.RAINBO_CREDENTIAL_KEYS,
        "RAINBO_DB_PASSWORD": [connections.databases["default"]["PASSWORD"]],
    }
    for name, values in others.items():
        if secret in values:
            yield Error(
                f"RAINBO_CRON_SECRET equals {name}.", hint=_HOW_TO_MAKE_ONE, id="rainbo.E020"
            )
    if len(secret) < SHORTEST_SECRET or not secret.isascii() or not secret.isprintable():
        yield Error(
            f"RAINBO_CRON_SECRET must have {SHORTEST_SECRET} or more printable ASCII characters.",
            hint=_HOW_TO_MAKE_ONE,
            id="rainbo.E021",
        )


_HOW_TO_MAKE_ONE = "Make one with: openssl rand -base64 32"


@register(SETTINGS)
def queue(**_: object) -> Iterator[CheckMessage]:
    cluster: dict[str, Any] = settings.Q_CLUSTER
    for key, (wanted, why) in _QUEUE.items():
        if cluster.get(key) != wanted:
            yield _queue_error(key, f"must be {wanted!r}: {why}")
    workers, timeout = cluster.get("workers") or 0, cluster.get("timeout") or 0
    if not workers or cluster.get("queue_limit") != workers:
        yield _queue_error("queue_limit", "must equal workers: waiting tasks use up their retry")
    if not timeout:
        yield _queue_error("timeout", "must be set: a hanging task would block its worker")
    if cluster.get("retry", 0) < 2 * timeout + 60:
        yield _queue_error("retry", "must be 2 × timeout + 60 or more: tasks would run twice")


_QUEUE: dict[str, tuple[object, str]] = {
    "orm": ("default", "the queue lives in RAINBO's own database"),
    "bulk": (1, "a fetched task counts as started"),
    "max_attempts": (1, "RAINBO itself retries"),
    "ack_failures": (True, "a failed task would come back for ever"),
    "catch_up": (False, "missed slots would all fire at once"),
    "save_limit": (-1, "results are unsigned pickles"),
    "time_zone": ("UTC", "schedules would shift with summer time"),
}


def _queue_error(key: str, text: str) -> Error:
    return Error(f"Q_CLUSTER[{key!r}] {text}.", id="rainbo.E004")


@register(SETTINGS)
def error_reports_setting(**_: object) -> Iterator[CheckMessage]:
    if wrong := error_reports.problem():
        yield checks.Warning(
            wrong,
            hint="No error is reported. Install it with: pip install 'rainbo[sentry]'"
            if wrong == error_reports.MISSING
            else "Copy it from the project's settings in Sentry (Client Keys).",
            id="rainbo.W002",
        )


@register(SETTINGS)
def no_cache(**_: object) -> Iterator[CheckMessage]:
    for alias, cache in settings.CACHES.items():
        if cache["BACKEND"] != "django.core.cache.backends.dummy.DummyCache":
            yield Error(
                f"The cache {alias} is {cache['BACKEND']}.",
                hint="Use DummyCache: Django's caches unpickle what they find, so whoever can "
                "write one runs code here.",
                id="rainbo.E005",
            )


@register(SETTINGS)
def libpq(**_: object) -> Iterator[CheckMessage]:
    version = psycopg.pq.version()
    if version < OLDEST_LIBPQ * 10_000:
        yield Error(
            f"psycopg uses libpq {version // 10_000}, too old to require an authentication method.",
            hint=f"RAINBO requires scram through libpq {OLDEST_LIBPQ} or newer: "
            "install psycopg[binary].",
            id="rainbo.E006",
        )


@register(SETTINGS)
def lease(**_: object) -> Iterator[CheckMessage]:
    ttl, renewal = settings.RAINBO_LEASE_TTL, settings.RAINBO_LEASE_RENEWAL
    if renewal * 3 > ttl:
        yield Error(
            f"RAINBO_LEASE_RENEWAL is {renewal} s and RAINBO_LEASE_TTL is {ttl} s.",
            hint="Two renewals must be able to fail: renew at most every third of the TTL.",
            id="rainbo.E007",
        )


@register(SETTINGS)
def heartbeat_timeout(**_: object) -> Iterator[CheckMessage]:
    interval, timeout = settings.RAINBO_HEARTBEAT_INTERVAL, settings.RAINBO_HEARTBEAT_TIMEOUT
    if interval * 3 > timeout:
        yield Error(
            f"RAINBO_HEARTBEAT_INTERVAL is {interval} s "
            f"and RAINBO_HEARTBEAT_TIMEOUT is {timeout} s.",
            hint="Two heartbeats may get lost: send at least three in that time.",
            id="rainbo.E011",
        )


@register(SETTINGS)
def fleet_limits(**_: object) -> Iterator[CheckMessage]:
    statement, limit = settings.RAINBO_STATEMENT_TIMEOUT, settings.RAINBO_INSTANCE_LIMIT
    if limit < statement or limit > settings.RAINBO_RUN_LIMIT:
        yield Error(
            "The time limits are out of order: RAINBO_STATEMENT_TIMEOUT "
            f"({statement} s) ≤ RAINBO_INSTANCE_LIMIT ({limit} s) ≤ RAINBO_RUN_LIMIT "
            f"({settings.RAINBO_RUN_LIMIT} s) must hold.",
            id="rainbo.E008",
        )


@register(SETTINGS)
def schedules(**_: object) -> Iterator[CheckMessage]:
    known = [sync.name for sync in registry.scheduled_syncs()]
    for name, cron in settings.RAINBO_SCHEDULES.items():
        if name not in known:
            yield _schedule_error(f"names {name!r}, which is no sync", f"Use: {', '.join(known)}.")
        if problem := crontab.find_problem(cron):
            yield _schedule_error(f"gives {name} {cron!r}, which can't be scheduled", problem)


def _schedule_error(wrong: str, hint: str) -> Error:
    return Error(f"RAINBO_SCHEDULES {wrong}.", hint=hint, id="rainbo.E013")


@register(SETTINGS)
def run_limits(**_: object) -> Iterator[CheckMessage]:
    known = [sync.name for sync in registry.all_syncs()]
    for name in settings.RAINBO_RUN_LIMITS.keys() - set(known):
        yield Error(
            f"RAINBO_RUN_LIMITS names {name!r}, which is no sync.",
            hint=f"Use: {', '.join(known)}.",
            id="rainbo.E015",
        )


@register(SETTINGS)
def clock(**_: object) -> Iterator[CheckMessage]:
    if not settings.USE_TZ or settings.TIME_ZONE != "UTC":
        yield Error(
            "RAINBO keeps time in UTC: USE_TZ must be True and TIME_ZONE 'UTC'.",
            hint="RAINBO_TIME_ZONE sets the zone that people see.",
            id="rainbo.E009",
        )


@register(Tags.database, deploy=True)
def needed_keys(databases: Collection[str] | None = None, **_: object) -> Iterator[CheckMessage]:
    """A key that was removed too early: what it encrypted can't be used, and all else can."""
    if "default" not in (databases or ()) or not key_rotation.has_tables():
        return
    if lost := key_rotation.keys_in_use()[None]:
        yield checks.Warning(
            f"No key in RAINBO_CREDENTIAL_KEYS decrypts {counted(lost, 'stored secret')}.",
            hint="Was a key removed before rotate_credentials, or on one machine only? Add it "
            "again, after the newest. If it is lost, enter those secrets again.",
            id="rainbo.W003",
        )


@register(Tags.database)
def second_factor_groups(
    databases: Collection[str] | None = None, **_: object
) -> Iterator[CheckMessage]:
    """A name that no group has would silently require 2FA of nobody."""
    names = set(settings.RAINBO_REQUIRE_MFA) - {EVERYBODY}
    if not names or "default" not in (databases or ()):
        return
    for name in sorted(names - roles.group_names()):
        yield Error(
            f"RAINBO_REQUIRE_MFA names {name!r}, which is no group.",
            hint=f"Name groups of the console, separated by commas, or {EVERYBODY}.",
            id="rainbo.E014",
        )


@register(Tags.security, deploy=True)
def second_factor_demanded(**_: object) -> Iterator[CheckMessage]:
    if not settings.RAINBO_REQUIRE_MFA:
        yield checks.Info(
            "RAINBO_REQUIRE_MFA is empty: two-factor authentication is optional for everyone.",
            hint="Name groups of the console, separated by commas, or all.",
            id="rainbo.I001",
        )


@register(Tags.database)
def encoding(databases: Collection[str] | None = None, **_: object) -> Iterator[CheckMessage]:
    if "default" not in (databases or ()):
        return
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        (found,) = cursor.fetchone()
    if found != UTF8:
        yield Error(
            f"RAINBO's own database is encoded in {found}.",
            hint="Create it with ENCODING 'UTF8'.",
            id="rainbo.E010",
        )


@register(Tags.database)
def first_routes(databases: Collection[str] | None = None, **_: object) -> Iterator[CheckMessage]:
    if "default" not in (databases or ()):
        return
    connection.ensure_connection()
    try:
        partition.require_privileges(connection.connection)
    except partition.NotAllowed as error:
        yield Error(str(error), id="rainbo.E022")


@register(SETTINGS)
def direct_address(**_: object) -> Iterator[CheckMessage]:
    if settings.RAINBO_DB_POOLER and not settings.RAINBO_DB_DIRECT_HOST:
        yield Error(
            "RAINBO_DB_POOLER is on and RAINBO_DB_DIRECT_HOST is not set.",
            hint="Syncs need sessions of their own: name the database server itself in "
            "RAINBO_DB_DIRECT_HOST and RAINBO_DB_DIRECT_PORT.",
            id="rainbo.E016",
        )


@register(Tags.database)
def pooled_settings(
    databases: Collection[str] | None = None, **_: object
) -> Iterator[CheckMessage]:
    """A pooler may hand over sessions with the role's own settings."""
    if not settings.RAINBO_DB_POOLER or "default" not in (databases or ()):
        return
    role = connection.settings_dict["USER"]
    for name, value in differing_defaults().items():
        yield Error(
            f"RAINBO's own role has another value of {name} than {value}.",
            hint=f'Behind a pooler it must be the role\'s: ALTER ROLE "{role}" SET {name} = '
            f"'{value}'; then reload the pooler.",
            id="rainbo.E017",
        )


@register(Tags.security, deploy=True)
def own_database_tls(**_: object) -> Iterator[CheckMessage]:
    database = connections.databases["default"]
    mode = database["OPTIONS"].get("sslmode")
    host = database["HOST"]
    if host in LOOPBACK or host.startswith("/") or mode in {"verify-ca", "verify-full"}:
        return
    yield checks.Warning(
        f"RAINBO_DB_SSLMODE is {mode}, so anyone on the way to {host} can read and change.",
        hint="Set RAINBO_DB_SSLMODE=verify-full and RAINBO_DB_SSLROOTCERT.",
        id="rainbo.W001",
    )
