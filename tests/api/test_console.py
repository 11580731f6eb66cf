from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from activity.models import Activity
from api import tokens
from api.models import ApiToken
from tests.rows import staff

pytestmark = pytest.mark.django_db
LIST = "/admin/api/apitoken/"
SECRET = re.compile(r"rbo_[a-z0-9]{12}_[\w-]{43}")


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(staff("ann", is_superuser=True))
    return client


def secret_of(page: Any) -> str:
    (found,) = SECRET.findall(page.content.decode())
    return str(found)


def test_a_token_is_made_and_its_secret_shown_by_this_answer_alone(console: Client) -> None:
    form = {"name": " ci  runner ", "role": "operator", "valid_for": "30"}
    page = console.post(f"{LIST}add/", form)
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    secret = secret_of(page)
    assert tokens.caller_of(secret, None)
    token = ApiToken.objects.get()
    assert (token.name, token.created_by) == ("ci runner", "ann")
    assert token.expires_at is not None
    for path in (LIST, f"{LIST}{token.pk}/change/", "/admin/activity/activity/"):
        assert secret.split("_", 2)[2] not in console.get(path).content.decode()
    entry = Activity.objects.get(action="token.created")
    assert secret.split("_", 2)[2] not in str((entry.subject, entry.before, entry.after))


def test_the_token_from_the_environment_is_named_above_the_others(
    console: Client, settings: Any
) -> None:
    assert tokens.ENVIRONMENT not in console.get(LIST).content.decode()
    settings.RAINBO_CRON_SECRET = "s" * 43
    page = console.get(LIST).content.decode()
    assert tokens.ENVIRONMENT in page
    assert "<code>runs:prune</code>" in page
    assert settings.RAINBO_CRON_SECRET not in page


def test_scopes_are_chosen_one_by_one(console: Client) -> None:
    form = {"name": "ci", "role": "chosen", "chosen": ["metrics:read"], "valid_for": ""}
    console.post(f"{LIST}add/", form)
    token = ApiToken.objects.get()
    assert (token.scopes, token.expires_at) == (["metrics:read"], None)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": "", "role": "operator"}, "This field is required"),
        ({"name": "taken", "role": "operator"}, "There is a token with this name"),
        ({"name": "ci", "role": "chosen"}, "Choose at least one scope"),
        ({"name": "ci", "role": "chosen", "chosen": ["nope"]}, "Select a valid choice"),
        ({"name": "ci", "role": "nope"}, "Select a valid choice"),
        ({"name": "ci", "role": "operator", "valid_for": "9999"}, "Select a valid choice"),
    ],
)
def test_a_wrong_form_says_what_is_wrong(console: Client, form: dict[str, Any], said: str) -> None:
    tokens.create("taken", ["syncs:read"], "ann")
    page = console.post(f"{LIST}add/", {"valid_for": "30"} | form)
    assert said in page.content.decode()
    assert ApiToken.objects.count() == 1


def test_nobody_gives_a_token_what_they_may_not_do(client: Client) -> None:
    ann = staff("ann")
    ann.user_permissions.set(
        Permission.objects.filter(codename__in=["add_apitoken", "view_apitoken", "view_syncrun"])
    )
    client.force_login(ann)
    chosen = {"name": "ci", "role": "chosen", "valid_for": "30"}
    page = client.post(f"{LIST}add/", chosen | {"chosen": ["syncs:read", "runs:cancel"]})
    assert "runs:cancel" in page.content.decode()
    assert not ApiToken.objects.exists()
    client.post(f"{LIST}add/", chosen | {"chosen": ["syncs:read"]})
    assert ApiToken.objects.get().scopes == ["syncs:read"]


def test_nobody_gets_a_secret_for_what_they_may_not_do(client: Client) -> None:
    made = tokens.create("strong", ["people:find"], "root")
    ann = staff("ann")
    codenames = ["view_apitoken", "change_apitoken"]
    ann.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(ann)
    answer = client.post(f"{LIST}{made.token.pk}/rotate/", {"overlap": "0"})
    assert answer.status_code == 403
    assert tokens.caller_of(made.secret, None)
    client.post(f"{LIST}{made.token.pk}/revoke/")
    assert tokens.caller_of(made.secret, None) is None, "to revoke gives nobody anything"


def test_the_list_names_tokens_whose_maker_left(console: Client) -> None:
    tokens.create("ci", ["syncs:read"], "somebody")
    assert "somebody (no longer active)" in console.get(LIST).content.decode()


def test_a_token_is_rotated_with_an_overlap_and_revoked(console: Client) -> None:
    made = tokens.create("ci", ["syncs:read"], "ann")
    page = f"{LIST}{made.token.pk}/"
    shown = console.post(f"{page}rotate/", {"overlap": "24"})
    assert "stays valid until" in shown.content.decode()
    second = secret_of(shown)
    assert tokens.caller_of(made.secret, None)
    assert tokens.caller_of(second, None)
    console.post(f"{page}rotate/", {"overlap": "5000"})
    assert tokens.caller_of(second, None), "an overlap that is not offered changes nothing"
    console.post(f"{page}revoke/")
    assert tokens.caller_of(second, None) is None
    assert "revoked" in console.get(LIST).content.decode()
    assert "Make a new secret" not in console.get(f"{page}change/").content.decode()
    actions = Activity.objects.order_by("id").values_list("action", flat=True)
    assert [a for a in actions if a.startswith("token")] == ["token.rotated", "token.revoked"]
