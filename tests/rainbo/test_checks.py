from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from cryptography.fernet import Fernet
from django.core.checks import CheckMessage
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoDbBlocker, Settings

from rainbo import checks


def ids(messages: Iterable[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


@pytest.mark.django_db
def test_the_tests_own_configuration_is_clean() -> None:
    call_command("check", databases=["default"], fail_level="WARNING")


def set_own_database(monkeypatch: pytest.MonkeyPatch, **database: object) -> None:
    monkeypatch.setattr(checks, "connections", SimpleNamespace(databases={"default": database}))


def test_another_database_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_own_database(monkeypatch, ENGINE="django.db.backends.sqlite3")
    assert ids(checks.own_database()) == ["rainbo.E001"]


@pytest.mark.parametrize("keys", [[], ["short"], [Fernet.generate_key().decode(), "not a key"]])
def test_keys_that_are_no_fernet_keys_are_refused(settings: Settings, keys: list[str]) -> None:
    settings.RAINBO_CREDENTIAL_KEYS = keys
    messages = list(checks.credential_keys())
    assert ids(messages) == ["rainbo.E002"]
    assert not any(key in str(messages[0]) for key in keys)


@pytest.mark.parametrize(
    "raw", [hashlib.sha256(b"s" * 60).digest(), b"s" * 32], ids=["hashed", "cut"]
)
def test_keys_derived_from_the_secret_key_are_refused(settings: Settings, raw: bytes) -> None:
    settings.SECRET_KEY = "s" * 60
    settings.RAINBO_CREDENTIAL_KEYS = [urlsafe_b64encode(raw).decode()]
    assert ids(checks.credential_keys()) == ["rainbo.E003"]


def test_the_secret_key_itself_is_refused_as_credential_key(settings: Settings) -> None:
    key = Fernet.generate_key().decode()
    settings.SECRET_KEY, settings.RAINBO_CREDENTIAL_KEYS = key, [key]
    assert ids(checks.credential_keys()) == ["rainbo.E003"]


SECRET = "c" * 40


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        ("", []),
        (SECRET, []),
        ("c" * 31, ["rainbo.E021"]),
        ("ü" * 40, ["rainbo.E021"]),
        ("the secret key " * 4, ["rainbo.E020"]),
        ("the password of the database itself", ["rainbo.E020"]),
    ],
)
def test_the_cron_secret_opens_no_other_door(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, secret: str, found: list[str]
) -> None:
    set_own_database(monkeypatch, PASSWORD="the password of the database itself")
    settings.SECRET_KEY = "the secret key " * 4
    settings.RAINBO_CRON_SECRET = secret
    messages = list(checks.cron_secret())
    assert ids(messages) == found
    assert not secret or not any(secret in str(message) for message in messages)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("orm", "other"),
        ("bulk", 2),
        ("max_attempts", 0),
        ("ack_failures", False),
        ("catch_up", True),
        ("save_limit", 0),
        ("time_zone", "Europe/Berlin"),
        ("queue_limit", 16),
        ("timeout", None),
        ("retry", 1800),
    ],
)
def test_a_queue_that_breaks_a_promise_is_refused(
    settings: Settings, key: str, value: object
) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, key: value}
    messages = list(checks.queue())
    assert ids(messages) == ["rainbo.E004"]
    assert f"Q_CLUSTER['{key}']" in messages[0].msg


@pytest.mark.parametrize("key", ["orm", "bulk", "queue_limit", "timeout", "retry", "catch_up"])
def test_a_queue_setting_left_out_is_refused(settings: Settings, key: str) -> None:
    settings.Q_CLUSTER = {k: v for k, v in settings.Q_CLUSTER.items() if k != key}
    assert ids(checks.queue()) == ["rainbo.E004"]


@pytest.mark.parametrize("kind", ["locmem.LocMemCache", "db.DatabaseCache"])
def test_a_cache_of_pickles_is_refused(settings: Settings, kind: str) -> None:
    settings.CACHES = settings.CACHES | {"more": {"BACKEND": f"django.core.cache.backends.{kind}"}}
    assert ids(checks.no_cache()) == ["rainbo.E005"]


def test_an_old_libpq_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psycopg.pq.version", lambda: 150_008)
    messages = list(checks.libpq())
    assert ids(messages) == ["rainbo.E006"]
    assert "libpq 15" in messages[0].msg


@pytest.mark.parametrize(("ttl", "renewal", "fine"), [(60, 20, True), (60, 21, False)])
def test_the_lease_must_survive_two_failed_renewals(
    settings: Settings, ttl: int, renewal: int, fine: bool
) -> None:
    settings.RAINBO_LEASE_TTL, settings.RAINBO_LEASE_RENEWAL = ttl, renewal
    assert ids(checks.lease()) == ([] if fine else ["rainbo.E007"])


@pytest.mark.parametrize(("interval", "fine"), [(60, True), (61, False)])
def test_the_workers_silence_outlasts_two_lost_beats(
    settings: Settings, interval: int, fine: bool
) -> None:
    settings.RAINBO_HEARTBEAT_INTERVAL, settings.RAINBO_HEARTBEAT_TIMEOUT = interval, 180
    assert ids(checks.heartbeat_timeout()) == ([] if fine else ["rainbo.E011"])


@pytest.mark.parametrize(
    ("statement", "instance", "run", "fine"),
    [(120, 300, 900, True), (301, 300, 900, False), (120, 901, 900, False)],
)
def test_time_limits_must_nest(
    settings: Settings, statement: int, instance: int, run: int, fine: bool
) -> None:
    settings.RAINBO_STATEMENT_TIMEOUT = statement
    settings.RAINBO_INSTANCE_LIMIT = instance
    settings.RAINBO_RUN_LIMIT = run
    assert ids(checks.fleet_limits()) == ([] if fine else ["rainbo.E008"])


@pytest.mark.parametrize(
    ("schedules", "found"),
    [
        ({}, []),
        ({"user_routing": "*/5 * * * *", "ghost_users": "0 3 * * MON"}, []),
        ({"routes": "*/5 * * * *"}, ["rainbo.E013"]),
        ({"user_routing": "hourly"}, ["rainbo.E013"]),
        ({"user_routing": "0 0 31 2 *"}, ["rainbo.E013"]),
        ({"routes": "never"}, ["rainbo.E013", "rainbo.E013"]),
    ],
)
def test_first_rhythms_must_be_of_syncs_and_come(
    settings: Settings, schedules: dict[str, str], found: list[str]
) -> None:
    settings.RAINBO_SCHEDULES = schedules
    assert ids(checks.schedules()) == found


def test_limits_of_their_own_must_be_of_syncs(settings: Settings) -> None:
    settings.RAINBO_RUN_LIMITS = {"ghost_users": 1800}
    assert ids(checks.run_limits()) == []
    settings.RAINBO_RUN_LIMITS = {"ghosts": 1800}
    assert ids(checks.run_limits()) == ["rainbo.E015"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], []),
        (["all"], []),
        (["system_admin", "billing_admin"], []),
        (["sytem_admin"], ["rainbo.E014"]),
    ],
)
def test_a_second_factor_is_demanded_of_groups_that_exist(
    settings: Settings, names: list[str], found: list[str]
) -> None:
    settings.RAINBO_REQUIRE_MFA = names
    assert ids(checks.second_factor_groups(databases=["default"])) == found


@pytest.mark.django_db
def test_before_the_first_migrate_the_roles_count_as_groups(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RAINBO_REQUIRE_MFA = ["system_admin"]
    monkeypatch.setattr(connection.introspection, "table_names", list)
    assert ids(checks.second_factor_groups(databases=["default"])) == []


def test_that_nobody_must_have_a_second_factor_is_told(settings: Settings) -> None:
    settings.RAINBO_REQUIRE_MFA = []
    assert ids(checks.second_factor_demanded()) == ["rainbo.I001"]
    settings.RAINBO_REQUIRE_MFA = ["all"]
    assert ids(checks.second_factor_demanded()) == []


def test_another_clock_than_utc_is_refused(settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    assert ids(checks.clock()) == ["rainbo.E009"]


@pytest.mark.django_db
def test_the_own_database_must_be_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(checks.encoding(databases=["default"])) == []
    monkeypatch.setattr(checks, "UTF8", "another")
    assert ids(checks.encoding(databases=["default"])) == ["rainbo.E010"]


def test_the_encoding_is_read_only_when_databases_are_checked(
    django_db_blocker: DjangoDbBlocker,
) -> None:
    with django_db_blocker.block():
        assert ids(checks.encoding()) == []


@pytest.mark.parametrize(
    ("host", "mode", "fine"),
    [
        ("db.example", "prefer", False),
        ("db.example", "require", False),
        ("db.example", "verify-full", True),
        ("127.0.0.1", "disable", True),
        ("/run/postgresql", "prefer", True),
    ],
)
def test_a_remote_own_database_wants_tls(
    monkeypatch: pytest.MonkeyPatch, host: str, mode: str, fine: bool
) -> None:
    set_own_database(monkeypatch, HOST=host, OPTIONS={"sslmode": mode})
    assert ids(checks.own_database_tls()) == ([] if fine else ["rainbo.W001"])
