from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as settings_of_django
from django.core.checks import run_checks
from django.core.management import call_command
from pytest_django import Settings

from common import encryption, key_rotation
from common.clock import database_now
from common.encryption import CredentialError, Encrypted
from common.errors import UsageError
from syncs import tasks
from syncs.models import Heartbeat
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


def test_a_key_that_the_page_makes_is_one() -> None:
    """docs/credentials.md, Make a key"""
    page = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text(encoding="utf-8")
    command = page.partition("## Make a key")[2].split("```")[1].removeprefix("sh\n")
    made = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    Fernet(made.stdout.strip())


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


def worker(name: str, keys: list[str], ago: timedelta = timedelta()) -> None:
    with patch.object(settings_of_django, "RAINBO_CREDENTIAL_KEYS", keys):
        Heartbeat.objects.create(
            worker=name, at=database_now() - ago, keys=encryption.key_digests()
        )


def test_a_worker_without_the_newest_key_stops_a_rotation(
    new_key: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """It could not read what is encrypted next."""
    old = settings.RAINBO_CREDENTIAL_KEYS[1:]
    worker("console-1:1", settings.RAINBO_CREDENTIAL_KEYS)
    worker("console-2:7", old)
    worker("gone:7", old, ago=timedelta(hours=1))
    with pytest.raises(UsageError, match=r"not every process has the newest key: console-2:7\."):
        call_command("rotate_credentials")
    assert key_rotation.keys_in_use() == {1: 2}
    Heartbeat.objects.filter(worker="console-2:7").delete()
    worker("console-2:8", [new_key, *old])
    call_command("rotate_credentials")
    assert key_rotation.keys_in_use() == {0: 2}


def test_heartbeats_say_which_keys_a_process_has(settings: Settings) -> None:
    tasks.record_heartbeat()
    (known,) = Heartbeat.objects.all()
    assert known.keys == encryption.key_digests()
    assert not any(key[:12] in str(known.keys) for key in settings.RAINBO_CREDENTIAL_KEYS)


def test_a_key_that_is_needed_is_not_called_free(
    new_key: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("rotate_credentials", "--check")
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "Key 2 is still needed by 2 secrets: keep it." in said
    assert "removed" not in said
    assert key_rotation.keys_in_use() == {1: 2}, "nothing was written"
    call_command("rotate_credentials")
    said = capsys.readouterr().out
    assert "Backups from before this rotation need it" in said
    call_command("rotate_credentials", "--check")
    settings.RAINBO_CREDENTIAL_KEYS = [new_key]
    call_command("rotate_credentials", "--check")


def test_a_key_that_was_removed_too_early_is_noticed(new_key: str, settings: Settings) -> None:
    def warnings() -> list[str]:
        found = run_checks(tags=["database"], databases=["default"], include_deployment_checks=True)
        return [str(one.msg) for one in found if one.id == "rainbo.W003"]

    assert warnings() == []
    settings.RAINBO_CREDENTIAL_KEYS = [new_key]
    assert warnings() == ["No key in RAINBO_CREDENTIAL_KEYS decrypts 2 stored secrets."]
