from __future__ import annotations

import io
import json
from base64 import urlsafe_b64decode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client
from pytest_django import Settings

from activity.models import Activity
from common import key_rotation
from common.errors import UsageError
from tenants.models import SupportKey
from tenants.support_access import assertion, keys
from tenants.support_access.keys import KeyLost, KeyState
from tests.tenants.support_access.test_assertion import GIVEN

NOW = datetime(2026, 11, 30, 5, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JWKS = "/.well-known/jwks.json"


def states(now: datetime) -> list[str]:
    return [one.state.value for one in keys.read(now)]


def public_keys(document: dict[str, Any]) -> dict[str, Ed25519PublicKey]:
    """As an application reads them."""
    return {
        key["kid"]: Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(key["x"] + "="))
        for key in document["keys"]
    }


@pytest.mark.django_db
class TestRing:
    def test_the_first_key_signs_at_once(self) -> None:
        assert keys.document(NOW) == {"keys": []}
        signing = keys.signing_key(NOW)
        (public,) = keys.document(NOW)["keys"]
        assert public == {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": signing.kid,
            "x": SupportKey.objects.get().public,
        }
        assert keys.signing_key(NOW).kid == signing.kid

    def test_the_next_key_is_published_before_it_signs_and_the_old_one_stays(self) -> None:
        first, second = keys.signing_key(NOW).kid, keys.rotate(NOW).kid
        assert states(NOW) == [KeyState.CURRENT, KeyState.NEXT]
        assert [key["kid"] for key in keys.document(NOW)["keys"]] == [first, second]
        before, after = NOW + 15 * MINUTE - MINUTE / 60, NOW + 15 * MINUTE
        assert (keys.signing_key(before).kid, keys.signing_key(after).kid) == (first, second)
        assert states(after) == [KeyState.OLD, KeyState.CURRENT]
        a_day_later = after + timedelta(days=1)
        assert states(a_day_later - MINUTE) == [KeyState.OLD, KeyState.CURRENT]
        assert states(a_day_later) == [KeyState.GONE, KeyState.CURRENT]
        assert [key["kid"] for key in keys.document(a_day_later)["keys"]] == [second]

    def test_a_session_passes_while_the_key_changes(self) -> None:
        """Signed just before the change, verified after it by what was cached before it."""
        keys.ensure(NOW)
        keys.rotate(NOW)
        cached = public_keys(keys.document(NOW + 10 * MINUTE))
        for at in (NOW + 15 * MINUTE - MINUTE / 60, NOW + 15 * MINUTE):
            token = assertion.sign(GIVEN, keys.signing_key(at), at)
            later = at + MINUTE / 2
            assert assertion.verify(token, cached, GIVEN.issuer, 3, later) == GIVEN
            fetched = public_keys(keys.document(later))
            assert assertion.verify(token, fetched, GIVEN.issuer, 3, later) == GIVEN

    def test_one_next_key_at_a_time(self) -> None:
        keys.ensure(NOW)
        keys.rotate(NOW)
        with pytest.raises(UsageError, match="published already and signs from 2026-11-30 05:35"):
            keys.rotate(NOW + 14 * MINUTE)
        keys.rotate(NOW + 16 * MINUTE)
        assert states(NOW + 16 * MINUTE) == [KeyState.OLD, KeyState.CURRENT, KeyState.NEXT]

    def test_a_stolen_key_is_withdrawn_at_once(self) -> None:
        keys.ensure(NOW)
        keys.rotate(NOW)
        stolen = keys.signing_key(NOW)
        made = keys.rotate(NOW + MINUTE, at_once=True)
        published = public_keys(keys.document(NOW + MINUTE))
        assert set(published) == {made.kid}
        assert keys.signing_key(NOW + MINUTE).kid == made.kid
        with pytest.raises(assertion.Refused, match="unknown key"):
            assertion.verify(assertion.sign(GIVEN, stolen, NOW), published, GIVEN.issuer, 3, NOW)

    def test_keys_that_are_long_gone_are_deleted(self) -> None:
        at = NOW
        for _ in range(5):
            keys.rotate(at)
            at += timedelta(days=7)
        assert states(at) == [KeyState.GONE, KeyState.CURRENT]

    def test_the_private_part_is_encrypted_and_bound_to_its_row(self, settings: Settings) -> None:
        keys.ensure(NOW)
        private = keys.signing_key(NOW).private.private_bytes_raw()
        with connection.cursor() as cursor:
            cursor.execute("SELECT k::text FROM support_keys AS k")
            (row,) = cursor.fetchone()
        assert private.hex() not in row
        settings.RAINBO_CREDENTIAL_KEYS = [
            Fernet.generate_key().decode(),
            *settings.RAINBO_CREDENTIAL_KEYS,
        ]
        assert key_rotation.rotate_all().renewed >= 1
        settings.RAINBO_CREDENTIAL_KEYS = settings.RAINBO_CREDENTIAL_KEYS[:1]
        assert keys.signing_key(NOW).private.private_bytes_raw() == private
        settings.RAINBO_CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
        with pytest.raises(KeyLost, match="support_keys rotate --at-once"):
            keys.signing_key(NOW)

    def test_a_key_of_another_row_does_not_sign(self) -> None:
        first = keys.ensure(NOW)
        second = keys.rotate(NOW)
        SupportKey.objects.filter(pk=second.pk).update(secret=first.secret)
        with pytest.raises(KeyLost):
            keys.signing_key(NOW + 20 * MINUTE)


@pytest.mark.django_db(transaction=True)
def test_many_first_sessions_make_one_key() -> None:
    def sign(_: int) -> str:
        try:
            return keys.signing_key(NOW).kid
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(sign, range(16)))) == 1
    assert SupportKey.objects.count() == 1


@pytest.mark.django_db
class TestDoors:
    def test_anyone_reads_the_public_keys_and_nothing_else(self, client: Client) -> None:
        assert client.get(JWKS).json() == {"keys": []}
        keys.ensure(NOW)
        answer = client.get(JWKS)
        assert answer.status_code == 200
        assert answer["Content-Type"] == "application/json"
        assert answer["Cache-Control"] == "public, max-age=300"
        assert [*answer.json()["keys"][0]] == ["kty", "crv", "alg", "use", "kid", "x"]
        assert client.head(JWKS).content == b""
        refused = client.post(JWKS, "{}", content_type="application/json")
        assert (refused.status_code, refused["Allow"]) == (405, "GET")
        assert not SupportKey.objects.filter(made_at__gt=NOW).exists()

    def test_the_command_lists_rotates_and_exports(self, client: Client) -> None:
        def run(*words: str) -> str:
            out = io.StringIO()
            call_command("support_keys", *words, stdout=out)
            return out.getvalue()

        assert "No key yet" in run("list")
        exported = json.loads(run("export"))
        assert exported == client.get(JWKS).json()
        assert len(exported["keys"]) == 1
        assert "is published and signs from" in run("rotate")
        assert [key["state"] for key in json.loads(run("list", "--json"))["keys"]] == [
            "current",
            "next",
        ]
        assert "next, signs from" in run("list")
        run("rotate", "--at-once")
        assert len(json.loads(run("export"))["keys"]) == 1
        actions = Activity.objects.values_list("action", flat=True)
        assert [*actions] == ["support_key.rotated"] * 2
        entry = Activity.objects.first()
        assert entry is not None
        assert "signs from" in entry.changes_in_words
