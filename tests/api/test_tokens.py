from __future__ import annotations

import io
import json
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from activity.log import COMMAND_LINE
from activity.models import Activity
from api import tokens
from api.models import ApiToken
from common.errors import UsageError
from common.redaction import redact
from syncs.transfer.session import open_session
from tests.rows import staff

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def test_a_secret_finds_its_token() -> None:
    made = tokens.create("ci", ["syncs:run", "syncs:read"], "ann")
    caller = tokens.caller_of(made.secret, "192.0.2.7")
    assert caller is not None
    assert (caller.actor, caller.scopes) == ("token ci", frozenset({"syncs:read", "syncs:run"}))
    made.token.refresh_from_db()
    assert made.token.last_used_from == "192.0.2.7"
    assert made.token.scopes == ["syncs:read", "syncs:run"]


def test_the_database_never_has_the_secret() -> None:
    made = tokens.create("ci", ["syncs:read"], "ann")
    secret = made.secret.split("_", 2)[2]
    with connection.cursor() as cursor:
        cursor.execute("SELECT token::text FROM api_tokens AS token")
        rows = str(cursor.fetchall())
    assert made.token.public_id in rows
    assert secret not in rows
    assert secret.encode().hex() not in rows


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "rbo_",
        "nonsense",
        "rbo_aaaaaaaaaaaa_" + "x" * 43,
        "rbo_aaaaaaaaaaaa_" + "x" * 5000,
        "ü" * 50,
    ],
)
def test_what_is_no_token_finds_none(wrong: str) -> None:
    tokens.create("ci", ["syncs:read"], "ann")
    assert tokens.caller_of(wrong, None) is None


def test_another_secret_of_the_same_id_finds_none() -> None:
    made = tokens.create("ci", ["syncs:read"], "ann")
    other = tokens.create("other", ["syncs:read"], "ann").secret
    mixed = f"rbo_{made.token.public_id}_{other.split('_', 2)[2]}"
    assert tokens.caller_of(mixed, None) is None


def test_a_token_ends_when_it_expires() -> None:
    now = timezone.now()
    made = tokens.create("ci", ["syncs:read"], "ann", now + DAY)
    assert tokens.caller_of(made.secret, None)
    ApiToken.objects.update(expires_at=now - timedelta(microseconds=1))
    assert tokens.caller_of(made.secret, None) is None


def test_a_revoked_token_ends_at_once_and_its_name_is_free_again() -> None:
    made = tokens.create("ci", ["syncs:read"], "ann")
    assert tokens.revoke(made.token, "ann")
    assert not tokens.revoke(made.token, "ann")
    assert tokens.caller_of(made.secret, None) is None
    with pytest.raises(UsageError):
        tokens.rotate(made.token)
    assert tokens.caller_of(tokens.create("ci", ["syncs:read"], "ann").secret, None)


def test_rotation_overlaps_as_long_as_chosen() -> None:
    first = tokens.create("ci", ["syncs:read"], "ann")
    second = tokens.rotate(first.token, timedelta(hours=1))
    assert tokens.caller_of(first.secret, None)
    assert tokens.caller_of(second.secret, None)
    ApiToken.objects.update(previous_until=timezone.now() - timedelta(microseconds=1))
    assert tokens.caller_of(first.secret, None) is None
    assert tokens.caller_of(second.secret, None)


def test_rotation_without_overlap_ends_the_former_secret() -> None:
    first = tokens.create("ci", ["syncs:read"], "ann")
    second = tokens.rotate(first.token, timedelta())
    assert tokens.caller_of(first.secret, None) is None
    third = tokens.rotate(second.token)
    assert tokens.caller_of(first.secret, None) is None, "two rotations ago"
    assert tokens.caller_of(third.secret, None)


@pytest.mark.parametrize(
    ("name", "scopes", "expires"),
    [
        ("", ["syncs:read"], None),
        ("x" * 101, ["syncs:read"], None),
        ("a\x07b", ["syncs:read"], None),
        ("ci", [], None),
        ("ci", ["syncs:read", "everything"], None),
        ("ci", ["syncs:read"], -DAY),
    ],
)
def test_what_can_be_no_token_is_refused(
    name: str, scopes: list[str], expires: timedelta | None
) -> None:
    with pytest.raises(UsageError):
        tokens.create(name, scopes, "ann", timezone.now() + expires if expires else None)
    assert not ApiToken.objects.exists()


def test_a_name_is_given_once() -> None:
    tokens.create("ci", ["syncs:read"], "ann")
    with pytest.raises(UsageError, match="rotate"):
        tokens.create(" ci ", ["syncs:read"], "ann")


def test_a_name_that_is_taken_meanwhile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.create("ci", ["syncs:read"], "ann")
    monkeypatch.setattr("django.db.models.query.QuerySet.exists", lambda _: False)
    with pytest.raises(UsageError, match="there is a token"):
        tokens.create("ci", ["syncs:read"], "ann")


@pytest.mark.parametrize("name", ["RAINBO_CRON_SECRET", "rainbo_cron_secret"])
def test_the_name_of_the_environments_token_is_taken(name: str) -> None:
    with pytest.raises(UsageError, match="environment"):
        tokens.create(name, ["syncs:read"], "ann")


def test_a_token_whose_maker_left_is_named() -> None:
    ann = staff("ann")
    kept = tokens.create("a", ["syncs:read"], "ann").token
    command = tokens.create("b", ["syncs:read"], COMMAND_LINE).token
    assert tokens.makers_gone([kept, command]) == set()
    ann.is_active = False
    ann.save()
    assert tokens.makers_gone([kept, command]) == {kept.pk}
    assert "made by ann, no longer active" in shown("list")


def test_what_commands_made_has_one_maker_also_from_before() -> None:
    command("create", "new", "--scope", "syncs:read")
    tokens.create("old", ["syncs:read"], "manage.py")
    import_module("api.migrations.0002_made_by_commands").rename(apps, None)
    assert {*ApiToken.objects.values_list("created_by", flat=True)} == {"command line"}
    assert Activity.objects.get(action="token.created").actor == "command line"


def shown(*words: str) -> str:
    return command(*words)[0]


def test_a_use_is_noted_once_a_minute(django_assert_num_queries: Any) -> None:
    made = tokens.create("ci", ["syncs:read"], "ann")
    tokens.caller_of(made.secret, "192.0.2.1")
    with django_assert_num_queries(1):
        tokens.caller_of(made.secret, "192.0.2.2")
    made.token.refresh_from_db()
    assert made.token.last_used_from == "192.0.2.1"
    ApiToken.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    tokens.caller_of(made.secret, "192.0.2.2")
    made.token.refresh_from_db()
    assert made.token.last_used_from == "192.0.2.2"


def test_the_environment_makes_one_token_for_cron(settings: Any) -> None:
    assert tokens.caller_of("", None) is None, "an empty setting admits nobody"
    settings.RAINBO_CRON_SECRET = "k" * 40
    caller = tokens.caller_of("k" * 40, None)
    assert caller is not None
    assert caller.pk is None
    assert tokens.caller_of("k" * 39, None) is None


def test_a_secret_is_masked_wherever_it_is_logged() -> None:
    made = tokens.create("ci", ["syncs:read"], "ann")
    for text in (made.secret, f"curl -d {made.secret}", f"key={made.secret}&x=1"):
        assert made.secret.split("_", 2)[2] not in redact(text)
    assert made.token.public_id in redact(f"sent {made.secret} there")
    assert made.secret not in repr(made)


def command(*words: str, **options: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("api_token", *words, stdout=out, stderr=err, **options)
    return out.getvalue().strip(), err.getvalue()


def test_the_command_shows_a_secret_once_and_records_it() -> None:
    secret, said = command("create", "ci", "--role", "operator", "--expires-in", "30d")
    assert tokens.caller_of(secret, None)
    assert "shown only now" in said
    assert secret not in said
    again, said = command("rotate", "ci", "--overlap", "0h")
    assert tokens.caller_of(again, None)
    assert tokens.caller_of(secret, None) is None
    listed, _ = command("list", "--json")
    (entry,) = json.loads(listed)["tokens"]
    assert (entry["name"], entry["valid"]) == ("ci", True)
    assert again.split("_", 2)[2] not in listed
    command("revoke", again)  # a secret names its token, too
    assert tokens.caller_of(again, None) is None
    assert "revoked" in command("list")[0]
    recorded = Activity.objects.order_by("id")
    assert [entry.action for entry in recorded] == [
        "token.created",
        "token.rotated",
        "token.revoked",
    ]
    everything = str([(e.subject, e.before, e.after) for e in recorded])
    assert secret not in everything
    assert again not in everything


def test_an_operator_may_only_run_and_read() -> None:
    secret, _ = command("create", "ci", "--role", "operator")
    caller = tokens.caller_of(secret, None)
    assert caller is not None
    verbs = {scope.split(":")[1] for scope in caller.scopes}
    assert verbs == {"read", "run"}


def test_the_command_takes_scopes_one_by_one_too() -> None:
    command("create", "ci", "--scopes", "syncs:read", "fleet:read", "--scopes", "alerts:read")
    assert sorted(ApiToken.objects.get().scopes) == ["alerts:read", "fleet:read", "syncs:read"]


def test_the_command_refuses_what_is_not_there() -> None:
    with pytest.raises(UsageError, match="api_token list"):
        command("revoke", "nobody")


@pytest.mark.django_db(transaction=True)
def test_a_session_that_ended_meanwhile_is_replaced() -> None:
    """No health check precedes the statement that reads a token: it is one itself."""
    secret = tokens.create("ci", ["syncs:read"], "ann").secret
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    with open_session("test") as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert tokens.caller_of(secret, None)
    assert connection.connection.info.backend_pid != pid
