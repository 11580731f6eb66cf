from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from pytest_django import Settings

from common import encryption, key_rotation
from common.encryption import CredentialError, Encrypted
from tenants.models import RdsInstance
from tests.common.test_encryption import SECRET, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def new_key(settings: Settings) -> str:
    """A new key stands before the old one; two passwords are encrypted with the old one."""
    stored(1)
    stored(2)
    key = Fernet.generate_key().decode()
    settings.RAINBO_CREDENTIAL_KEYS = [key, *settings.RAINBO_CREDENTIAL_KEYS]
    return key


def test_afterwards_the_new_key_alone_opens_all(
    new_key: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("rotate_credentials")
    settings.RAINBO_CREDENTIAL_KEYS = [new_key]
    assert [i.reveal_password() for i in RdsInstance.objects.all()] == [SECRET, SECRET]
    said = capsys.readouterr().out
    assert "Re-encrypted 2 secrets with the newest key." in said
    assert "Key 2 of RAINBO_CREDENTIAL_KEYS can be removed" in said


def test_with_one_key_nothing_can_go(capsys: pytest.CaptureFixture[str]) -> None:
    stored()
    call_command("rotate_credentials")
    assert "keep it" in capsys.readouterr().out


def test_a_password_that_no_key_opens_is_named(
    new_key: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    RdsInstance.objects.filter(pk=1).update(
        password=Encrypted(Fernet(Fernet.generate_key()).encrypt(b"x").decode())
    )
    with pytest.raises(SystemExit) as ended:
        call_command("rotate_credentials")
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "instance 1 (rds1)" in said.err
    assert "Keep all keys" in said.out
    settings.RAINBO_CREDENTIAL_KEYS = [new_key]
    assert RdsInstance.objects.get(pk=2).reveal_password() == SECRET


def test_a_password_that_changes_meanwhile_is_not_lost(
    new_key: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate = encryption.rotate
    changed: list[bool] = []

    def slow(sealed: Encrypted) -> Encrypted:
        if not changed:
            changed.append(True)
            instance = RdsInstance.objects.get(pk=1)
            instance.set_password("new one")
            instance.save()
        return rotate(sealed)

    monkeypatch.setattr(encryption, "rotate", slow)
    assert key_rotation.rotate_all().renewed == 2
    settings.RAINBO_CREDENTIAL_KEYS = [new_key]
    assert RdsInstance.objects.get(pk=1).reveal_password() == "new one"


def test_rotation_keeps_the_binding(new_key: str) -> None:
    call_command("rotate_credentials")
    instance = RdsInstance.objects.get(pk=1)
    instance.host = "evil.example.com"
    with pytest.raises(CredentialError):
        instance.reveal_password()
