from __future__ import annotations

import json

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.db import connection
from pytest_django import Settings

from common.encryption import CredentialError, Encrypted
from common.errors import UsageError
from tenants.models import RdsInstance

SECRET = "correct horse"
pytestmark = pytest.mark.django_db


def stored(pk: int = 1, **fields: object) -> RdsInstance:
    known = {"name": f"rds{pk}", "host": "db.example.com", "database": "app", "user": "rainbo"}
    instance = RdsInstance(pk=pk, **(known | fields))
    instance.set_password(SECRET)
    instance.save(force_insert=True)
    return RdsInstance.objects.get(pk=pk)


def test_it_opens_for_its_row() -> None:
    assert stored().reveal_password() == SECRET


def test_the_table_holds_no_clear_text() -> None:
    stored()
    with connection.cursor() as cursor:
        cursor.execute("SELECT password FROM rds_instances")
        (kept,) = cursor.fetchone()
    assert kept.startswith("gAAAAA")
    assert SECRET not in kept


def test_it_is_never_shown_by_accident() -> None:
    instance = stored()
    shown = [
        repr(instance),
        str(instance.password),
        repr(instance.password),
        serializers.serialize("json", [instance]),
        json.dumps(RdsInstance.objects.values().get(), default=str),
    ]
    for text in shown:
        assert SECRET not in text
        assert instance.password.token not in text


def test_clear_text_can_not_be_stored() -> None:
    instance = stored()
    instance.password = SECRET
    with pytest.raises(TypeError, match="set_password"):
        instance.save()


@pytest.mark.parametrize("position", [0, 20, 60, -1])
def test_altered_ciphertext_is_refused(position: int) -> None:
    instance = stored()
    token = list(instance.password.token)
    token[position] = "A" if token[position] != "A" else "B"
    instance.password = Encrypted("".join(token))
    with pytest.raises(CredentialError, match=r"instance 1 \(rds1\) can't be decrypted"):
        instance.reveal_password()


@pytest.mark.parametrize("token", ["", "plain", "gAAAAA"])
def test_what_is_no_ciphertext_is_refused(token: str) -> None:
    instance = stored()
    instance.password = Encrypted(token)
    with pytest.raises(CredentialError):
        instance.reveal_password()


def test_ciphertext_of_another_row_is_refused() -> None:
    one, other = stored(1), stored(2)
    other.password = one.password
    with pytest.raises(CredentialError, match="belongs to another row"):
        other.reveal_password()


def test_a_lost_key_is_named(settings: Settings) -> None:
    instance = stored()
    settings.RAINBO_CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CredentialError, match="RAINBO_CREDENTIAL_KEYS"):
        instance.reveal_password()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", "evil.example.com"),
        ("port", 5433),
        ("user", "postgres"),
        ("ssl_ca", "another"),
        ("require_auth", "password"),
        ("ssl_mode", "require"),
        ("ssl_mode", "disable"),
    ],
)
def test_whoever_points_it_elsewhere_must_know_it(name: str, value: object) -> None:
    instance = stored()
    setattr(instance, name, value)
    with pytest.raises(CredentialError, match="enter it again"):
        instance.reveal_password()


@pytest.mark.parametrize(
    ("name", "value"), [("name", "new"), ("notes", "x"), ("database", "other"), ("app_url", "")]
)
def test_other_settings_change_freely(name: str, value: object) -> None:
    instance = stored()
    setattr(instance, name, value)
    assert instance.reveal_password() == SECRET


def test_a_stronger_ssl_mode_keeps_it_and_the_way_back_is_closed() -> None:
    instance = stored(ssl_mode="disable")
    instance.ssl_mode = "verify-full"
    instance.rebind_password()
    instance.ssl_mode = "disable"
    with pytest.raises(CredentialError):
        instance.reveal_password()


@pytest.mark.parametrize("password", ["nul\0", "half \ud83d", "bytes \udcff"], ids=ascii)
def test_a_password_that_no_server_takes_is_refused(password: str) -> None:
    with pytest.raises(UsageError, match="the password has a character that no server accepts"):
        RdsInstance(pk=1, host="db.example.com").set_password(password)
