from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

Load = Callable[..., dict[str, Any]]
SETTINGS = Path(__file__).parents[2] / "rainbo" / "settings.py"
LEAST = {"RAINBO_SECRET_KEY": "s" * 60, "RAINBO_CREDENTIAL_KEYS": Fernet.generate_key().decode()}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Runs settings.py with these variables and no others."""

    def run(**variables: str) -> dict[str, Any]:
        monkeypatch.setattr("os.environ", {**LEAST, **variables})
        return runpy.run_path(str(SETTINGS))

    return run


def test_defaults_are_those_of_production(load: Load) -> None:
    settings = load()
    assert settings["DEBUG"] is False
    assert settings["SECURE_SSL_REDIRECT"] is True
    assert settings["SESSION_COOKIE_SECURE"] is True
    assert settings["SECURE_HSTS_SECONDS"] == 365 * 24 * 60 * 60
    assert settings["SESSION_COOKIE_HTTPONLY"] is True
    assert settings["SESSION_COOKIE_SAMESITE"] == "Lax"
    assert settings["CSRF_COOKIE_SECURE"] is True
    assert settings["RAINBO_REQUIRE_MFA"] == []
    assert "SECURE_PROXY_SSL_HEADER" not in settings
    assert "Manifest" in settings["STORAGES"]["staticfiles"]["BACKEND"]
    assert settings["RAINBO_GUARD_ROUTES_REMOVED"] == (20, 10.0)
    assert settings["RAINBO_EXPECTED_PERIOD"] is None


@pytest.mark.parametrize("name", LEAST)
def test_secrets_have_no_default(load: Load, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name} is not set"):
        load(**{name: ""})


def test_a_process_that_stops_within_a_transaction_keeps_no_lock_for_ever(load: Load) -> None:
    stored = load()["DATABASES"]["default"]["OPTIONS"]["options"]
    assert "-c idle_in_transaction_session_timeout=60s" in stored
    assert "-c idle_session_timeout=0" in stored
    assert load(RAINBO_DB_POOLER="on")["DATABASES"]["default"]["OPTIONS"]["options"] == ""


def test_without_https_cookies_and_redirect_fit_plain_http(load: Load) -> None:
    settings = load(RAINBO_HTTPS="off")
    assert settings["SECURE_SSL_REDIRECT"] is False
    assert settings["CSRF_COOKIE_SECURE"] is False
    assert settings["SECURE_HSTS_SECONDS"] == 0
    assert "Manifest" not in settings["STORAGES"]["staticfiles"]["BACKEND"]


def test_a_secret_file_serves_as_the_secret(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("p@ss$word\n")
    settings = load(RAINBO_DB_PASSWORD_FILE=str(path))
    assert settings["DATABASES"]["default"]["PASSWORD"] == "p@ss$word"


def test_credential_keys_keep_their_order(load: Load) -> None:
    assert load(RAINBO_CREDENTIAL_KEYS="new,old")["RAINBO_CREDENTIAL_KEYS"] == ["new", "old"]


def test_the_queue_follows_workers_and_limit(load: Load) -> None:
    queue = load(RAINBO_WORKERS="2", RAINBO_RUN_LIMIT="1000")["Q_CLUSTER"]
    assert (queue["workers"], queue["queue_limit"]) == (2, 2)
    assert (queue["timeout"], queue["retry"]) == (1060, 2420)
    longest = load(RAINBO_RUN_LIMITS="ghost_users=1800; instance_health=50")
    assert longest["RAINBO_RUN_LIMITS"] == {"ghost_users": 1800, "instance_health": 50}
    assert (longest["Q_CLUSTER"]["timeout"], longest["Q_CLUSTER"]["retry"]) == (1860, 4020)
    assert load()["RAINBO_RETRY_SECONDS"] == (60, 300, 600)
    assert load(RAINBO_RETRY_SECONDS="none")["RAINBO_RETRY_SECONDS"] == ()


def test_the_own_database_takes_its_ca(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("x")
    options = load(RAINBO_DB_SSLMODE="verify-full", RAINBO_DB_SSLROOTCERT=str(path))["DATABASES"][
        "default"
    ]["OPTIONS"]
    assert (options["sslmode"], options["sslrootcert"]) == ("verify-full", str(path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAINBO_DEBUG", "maybe"),
        ("RAINBO_DB_PORT", "70000"),
        ("RAINBO_DB_SSLMODE", "strict"),
        ("RAINBO_DB_SSLROOTCERT", "/nowhere/ca.pem"),
        ("RAINBO_TIME_ZONE", "Mars/Olympus"),
        ("RAINBO_LOG_FORMAT", "xml"),
        ("RAINBO_SOURCE_SQL", "/nowhere/sql"),
        ("RAINBO_FLEET_THREADS", "0"),
        ("RAINBO_LEASE_TTL", "60s"),
        ("RAINBO_LOGIN_ATTEMPTS", "0"),
        ("RAINBO_LOGIN_LOCK_MINUTES", "1.5"),
        ("RAINBO_SESSION_IDLE_MINUTES", "never"),
        ("RAINBO_GRACE_PERCENT", "-1"),
        ("RAINBO_EXPECTED_PERIOD", "1"),
        ("RAINBO_WITHHELD_CAP", "1%"),
        ("RAINBO_RETRY_SECONDS", "60,,600"),
        ("RAINBO_RUN_LIMITS", "ghost_users"),
        ("RAINBO_RUN_LIMITS", "ghost_users=1"),
    ],
)
def test_nonsense_is_refused_by_name(load: Load, name: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{name} must be"):
        load(**{name: value})
