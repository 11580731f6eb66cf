"""Connecting in the browser, against servers on which people allow and decline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from activity.models import Activity
from common.errors import UsageError
from integrations import authorization, oauth, plugin
from integrations.authorization import NewConnection
from integrations.models import AuthorizationRequest, Connection
from localfleet.services.github import GitHub
from localfleet.services.google_calendar import GoogleCalendar
from localfleet.services.server import Reply, running
from syncs.models import RunState
from tests.integrations.oauth import CLIENT, CONSOLE, at_server, expired, granted
from tests.integrations.rows import connection, fetch, part
from tests.integrations.test_console import OWNER, button, page, person, record, signed_in, text

pytestmark = pytest.mark.django_db
fetches = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:integrations_connection_changelist")
NAMES = {"github": "GitHub", "google_calendar": "Google Calendar"}
Server = GitHub | GoogleCalendar


@pytest.fixture
def github(hub: GitHub) -> Iterator[GitHub]:
    with at_server("github", hub):
        yield hub


@pytest.fixture
def google(loopback: None) -> Iterator[GoogleCalendar]:
    with running(GoogleCalendar("ann")) as server, at_server("google_calendar", server):
        assert isinstance(server, GoogleCalendar)
        yield server


@pytest.fixture(params=NAMES)
def service(request: pytest.FixtureRequest) -> tuple[str, Server]:
    name = {"github": "github", "google_calendar": "google"}[request.param]
    return request.param, request.getfixturevalue(name)


@pytest.fixture
def owner() -> User:
    return person("ann", *OWNER)


def start(client: Client, service: str, **data: str) -> str:
    """Where the person is sent."""
    url = reverse("admin:integrations_connection_connect", args=[service])
    answer = client.post(url, {"name": "work"} | data)
    assert answer.status_code == 302, text(answer)
    return str(answer["Location"])


def decide(address: str, decision: str = "allow", **changed: str) -> dict[str, str]:
    """What the person brings back, after a decision at the service."""
    shown = requests.get(address, timeout=5)
    assert shown.status_code == 200, shown.text
    given = dict(parse_qsl(urlsplit(address).query)) | changed | {"decision": decision}
    place = address.partition("?")[0]
    answer = requests.post(place, data=given, allow_redirects=False, timeout=5)
    back = urlsplit(answer.headers["Location"])
    assert f"{back.scheme}://{back.netloc}" == CONSOLE
    return {name: values[0] for name, values in parse_qs(back.query).items()}


def come_back(client: Client, name: str, brought: dict[str, str]) -> Any:
    url = reverse("admin:integrations_connection_callback", args=[name])
    return client.get(url, brought, follow=True)


def connect(client: Client, service: str, **data: str) -> str:
    return text(come_back(client, service, decide(start(client, service, **data))))


@fetches
def test_an_account_is_connected_and_fetched(service: tuple[str, Server], owner: User) -> None:
    name, _ = service
    shown = connect(signed_in(owner), name, minutes="45", is_shared="on")
    row = Connection.objects.get()
    assert f"ann at {NAMES[name]} is connected" in shown
    assert (row.name, row.owner, row.account) == ("work", owner, "ann")
    assert (row.update_frequency_minutes, row.is_shared) == (45, True)
    assert sorted(row.scopes) == sorted(scopes_of(name))
    assert fetch(row).state == RunState.SUCCEEDED
    assert not AuthorizationRequest.objects.exists()
    entry = Activity.objects.get(action="connection.added")
    secrets = [value for key, value in row.reveal_credentials().items() if key != "until"]
    said = f"{entry.before} {entry.after} {shown}"
    assert not [secret for secret in secrets if secret in said and secret != CLIENT[0]]


def scopes_of(name: str) -> tuple[str, ...]:
    return oauth.auth_of(plugin.find(name)).scopes


def test_what_is_sent_to_the_service(service: tuple[str, Server], owner: User) -> None:
    name, _ = service
    sent = dict(parse_qsl(urlsplit(start(signed_in(owner), name)).query))
    assert sent["redirect_uri"] == f"{CONSOLE}/admin/integrations/connection/callback/{name}/"
    assert (sent["code_challenge_method"], sent["response_type"]) == ("S256", "code")
    assert len(sent["code_challenge"]) == 43
    assert len(sent["state"]) >= 40
    assert CLIENT[1] not in str(sent)
    kept = AuthorizationRequest.objects.get()
    assert sent["state"] not in str(kept.__dict__), "only its digest is stored"


def test_the_address_to_return_to_is_the_settings_whatever_the_host(
    github: GitHub, owner: User, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["evil.example"]
    client = signed_in(owner)
    url = reverse("admin:integrations_connection_connect", args=["github"])
    answer = client.post(url, {"name": "x"}, headers={"host": "evil.example"})
    assert "evil" not in answer["Location"]


def test_a_state_is_good_once(github: GitHub, owner: User) -> None:
    client = signed_in(owner)
    brought = decide(start(client, "github"))
    come_back(client, "github", brought)
    shown = text(come_back(client, "github", brought))
    assert "is not valid" in shown
    assert Connection.objects.count() == 1


@pytest.mark.parametrize("wrong", ["person", "session", "service", "state", "time", "none"])
def test_a_way_back_that_is_another_is_rejected(
    wrong: str, github: GitHub, google: GoogleCalendar, owner: User
) -> None:
    client = signed_in(owner)
    with override_settings(RAINBO_OAUTH_CLIENT_SECRETS=dict.fromkeys(NAMES, CLIENT)):
        brought = decide(start(client, "github"))
        name = "github"
        match wrong:
            case "person":
                client = signed_in(person("bob", *OWNER))
            case "session":
                client = signed_in(owner)
            case "service":
                name = "google_calendar"
            case "state":
                brought["state"] = brought["state"].swapcase()
            case "time":
                AuthorizationRequest.objects.update(expires_at=timezone.now())
            case "none":
                del brought["state"]
        github.asked.clear()
        shown = text(come_back(client, name, brought))
    assert "Not connected: this way back" in shown
    assert not Connection.objects.exists()
    assert not github.asked, "the code is sent nowhere"


def test_who_shares_a_session_does_not_share_what_was_asked(github: GitHub, owner: User) -> None:
    """Django gives each person a session of their own; this is not left to it."""
    service, bob = plugin.find("github"), person("bob", *OWNER)
    brought = decide(authorization.begin(service, owner, "session", NewConnection("work")))
    with pytest.raises(UsageError, match="is not valid"):
        authorization.receive(service, bob, "session", brought)


def test_who_declines_reads_that_nothing_was_changed(
    service: tuple[str, Server], owner: User
) -> None:
    name, _ = service
    client = signed_in(owner)
    shown = text(come_back(client, name, decide(start(client, name), "decline")))
    assert f"you declined at {NAMES[name]}: nothing was changed" in shown
    assert not Connection.objects.exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("temporarily_unavailable", "is not available now"),
        ("invalid_scope", "know what RAINBO asked for"),
        ("redirect_uri_mismatch", "redirect_uri_mismatch"),
        ("<script>alert(1)</script>", "an unreadable code"),
    ],
)
def test_errors_of_the_way_back_are_explained(
    error: str, said: str, github: GitHub, owner: User
) -> None:
    client = signed_in(owner)
    state = dict(parse_qsl(urlsplit(start(client, "github")).query))["state"]
    shown = text(come_back(client, "github", {"error": error, "state": state}))
    assert said in shown
    assert "<script>alert" not in shown


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(200, {"error": "bad_verification_code"}), "begin again"),
        (Reply(200, {"error": "incorrect_client_credentials"}), "check RAINBO_GITHUB_CLIENT_ID"),
        (Reply(400, {"error": "invalid_grant"}), "begin again"),
        (Reply(401, {"error": "invalid_client"}), "check RAINBO_GITHUB_CLIENT_ID"),
        (Reply(200, {"ok": False, "error": "fatal_error"}), "fatal_error"),
        (Reply(503, "busy"), "answered with status 503"),
        (Reply(429, {}), "asked to wait"),
        (Reply(200, "access_token=x&scope="), "no token"),
        (Reply(200, "[1]"), "no token"),
        (Reply(200, {"access_token": "two words"}), "without a token"),
        (Reply(200, {"token_type": "bearer"}), "without a token"),
        (Reply(200, {"access_token": "x", "expires_in": 60}), "without a way to renew"),
        (Reply(302, None, {"Location": "https://elsewhere.example/"}), "status 302"),
        (Reply(200, {"access_token": "x"}, half=True), "closed the connection"),
    ],
)
def test_errors_of_the_token_are_explained(
    reply: Reply, said: str, github: GitHub, owner: User
) -> None:
    client = signed_in(owner)
    brought = decide(start(client, "github"))
    github.faults = [reply]
    shown = text(come_back(client, "github", brought))
    assert "Not connected:" in shown
    assert said in shown
    assert CLIENT[1] not in shown
    assert not Connection.objects.exists()


def test_less_than_was_asked_for_is_rejected(service: tuple[str, Server], owner: User) -> None:
    name, server = service
    first, *others = scopes_of(name)
    server.apps.granted = tuple(others)
    shown = connect(signed_in(owner), name)
    assert f"{first} is not allowed" in shown
    assert not Connection.objects.exists()


@fetches
def test_an_app_whose_scopes_are_not_named_is_connected(github: GitHub, owner: User) -> None:
    """One of GitHub's newer kind has permissions instead, and its tokens expire."""
    github.apps.granted = ()
    github.apps.lives = 28_800.0
    connect(signed_in(owner), "github")
    row = Connection.objects.get()
    first = row.reveal_credentials()
    assert {"token", "refresh_token", "until"} <= first.keys()
    assert fetch(expired(row)).state == RunState.SUCCEEDED
    row.refresh_from_db()
    second = row.reveal_credentials()
    assert not set(first.values()) & set(second.values()) - {CLIENT[0]}, "both tokens are new"


@fetches
def test_a_renewal_whose_answer_is_lost_needs_one_reconnect(github: GitHub, owner: User) -> None:
    github.apps.lives = 28_800.0
    client = signed_in(owner)
    connect(client, "github")
    row = expired(Connection.objects.get())
    github.apps.loses_answers = 1
    fetch(row)
    assert Connection.objects.filter(reconnect_since=None), "it could have been the network"
    fetch(row)
    row.refresh_from_db()
    assert "bad_refresh_token" in row.last_error
    assert row.reconnect_since is not None
    shown = again(client, row)
    assert "is connected again" in shown
    row.refresh_from_db()
    assert fetch(row).state == RunState.SUCCEEDED


def again(client: Client, row: Connection) -> str:
    url = reverse("admin:integrations_connection_connect_again", args=[row.pk])
    assert f'action="{url}"' not in text(client.get(url))
    answer = client.post(url)
    assert answer.status_code == 302, text(answer)
    return text(come_back(client, row.service, decide(answer["Location"])))


def test_connecting_again_keeps_the_connection_and_its_records(
    service: tuple[str, Server], owner: User
) -> None:
    name, _ = service
    client = signed_in(owner)
    connect(client, name)
    row = Connection.objects.get()
    mark = record(row)
    Connection.objects.update(reconnect_since=timezone.now(), last_error="401", cursor={"a": 1})
    generation = row.generation
    again(client, row)
    row.refresh_from_db()
    assert (row.reconnect_since, row.last_error, row.cursor) == (None, "", {"a": 1})
    assert row.generation > generation, "a run that began before publishes nothing"
    assert list(row.records.all()) == [mark]
    assert Activity.objects.filter(action="connection.reconnected").count() == 1


def test_another_account_is_rejected(service: tuple[str, Server], owner: User) -> None:
    name, server = service
    client = signed_in(owner)
    connect(client, name)
    row = Connection.objects.get()
    before = row.reveal_credentials()
    server.apps.person = "bob"
    shown = again(client, row)
    assert "you signed in as bob, and this connection is of ann" in shown
    row.refresh_from_db()
    assert row.reveal_credentials() == before


def test_an_account_is_connected_once(github: GitHub, owner: User) -> None:
    client = signed_in(owner)
    connect(client, "github")
    assert "connected already, as work" in connect(client, "github", name="other")
    assert Connection.objects.count() == 1


@fetches
def test_a_connection_by_token_goes_on_by_oauth(github: GitHub, owner: User) -> None:
    row = connection(github.url, owner=owner, token="lapsed", account="ann")
    client = signed_in(owner)
    fetch(row)
    again(client, row)
    row.refresh_from_db()
    assert (row.account_id, row.reconnect_since) == ("1", None)
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error


def test_only_the_owner_signs_in_again(github: GitHub) -> None:
    row = connection(github.url, owner=person("ann", *OWNER))
    manager = signed_in(person("eve", *OWNER, "manage_connections"))
    url = reverse("admin:integrations_connection_connect_again", args=[row.pk])
    assert "Only its owner, ann, can" in text(manager.post(url))
    assert signed_in(person("bob", *OWNER)).get(url).status_code == 404
    assert not AuthorizationRequest.objects.exists()


def test_without_an_app_or_an_address_the_page_says_what_is_missing(
    github: GitHub, owner: User, settings: Any
) -> None:
    url = reverse("admin:integrations_connection_connect", args=["github"])
    client = signed_in(owner)
    settings.RAINBO_CONSOLE_URL = ""
    assert "RAINBO_CONSOLE_URL is not set" in text(client.get(url))
    settings.RAINBO_OAUTH_CLIENT_SECRETS = {}
    assert "RAINBO_GITHUB_CLIENT_ID" in text(client.post(url, {"name": "x"}))
    assert not AuthorizationRequest.objects.exists()


def test_a_form_that_is_wrong_sends_nobody_anywhere(github: GitHub, owner: User) -> None:
    connection(owner=owner, name="taken")
    url = reverse("admin:integrations_connection_connect", args=["github"])
    for data in ({"name": ""}, {"name": "taken"}, {"name": "x", "minutes": "0"}):
        assert signed_in(owner).post(url, data).status_code == 200, data
    assert not AuthorizationRequest.objects.exists()


def test_the_policy_lets_a_form_lead_to_the_service_on_these_pages_alone(
    github: GitHub, owner: User
) -> None:
    client = signed_in(owner)
    url = reverse("admin:integrations_connection_connect", args=["github"])
    policies = [
        dict(p.strip().partition(" ")[::2] for p in policy.split(";"))
        for policy in (
            client.get(url)["Content-Security-Policy"],
            client.get(LIST)["Content-Security-Policy"],
        )
    ]
    assert [policy["form-action"] for policy in policies] == [f"'self' {github.url}", "'self'"]


@pytest.mark.parametrize("records", ["keep", "delete"])
def test_disconnecting_withdraws_what_was_granted(
    records: str, service: tuple[str, Server], owner: User
) -> None:
    name, server = service
    client = signed_in(owner)
    connect(client, name)
    row = Connection.objects.get()
    record(row, kind="of an older version")
    token = row.reveal_credentials()["token"]
    shown = text(client.post(button(row, "disconnect"), {"records": records}, follow=True))
    assert f"{NAMES[name]} has withdrawn the access" in shown
    assert server.apps.person_of(token) is None
    assert not server.apps.refresh
    assert Activity.objects.filter(action="connection.disconnected").count() == 1
    assert Connection.objects.exists() is (records == "keep")
    if records == "keep":
        row.refresh_from_db()
        assert (row.credentials, row.enabled, row.records.count()) == (None, False, 1)
        again(client, row)
        row.refresh_from_db()
        assert row.enabled
        assert row.reveal_credentials()["token"] != token


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(503, "busy"), "The access was not withdrawn"),
        (Reply(204, half=True), "has withdrawn the access"),
        (Reply(404, {"message": "Not Found"}), "was not valid at GitHub any longer"),
        (Reply(401, {"message": "Bad credentials"}), "yourself"),
    ],
)
def test_disconnecting_says_what_the_service_answered(
    reply: Reply, said: str, github: GitHub, owner: User
) -> None:
    client = signed_in(owner)
    connect(client, "github")
    row = Connection.objects.get()
    github.faults = [reply]
    shown = text(client.post(button(row, "disconnect"), {"records": "keep"}, follow=True))
    assert said in shown
    row.refresh_from_db()
    assert row.credentials is None, "it is forgotten all the same"


def test_google_is_asked_by_the_refresh_token_which_lives_longer(
    google: GoogleCalendar, owner: User
) -> None:
    client = signed_in(owner)
    connect(client, "google_calendar")
    google.apps.clock += 7200
    shown = client.post(button(Connection.objects.get(), "disconnect"), follow=True)
    assert "has withdrawn the access" in text(shown)


def test_a_token_that_was_entered_is_left_to_the_person(github: GitHub, owner: User) -> None:
    row = connection(github.url, owner=owner)
    shown = text(signed_in(owner).post(button(row, "disconnect"), follow=True))
    assert "The token was entered by hand. Delete it at GitHub." in shown


def test_deleting_a_connection_withdraws_it_too(github: GitHub, owner: User) -> None:
    client = signed_in(owner)
    connect(client, "github")
    row = Connection.objects.get()
    url = reverse("admin:integrations_connection_delete", args=[row.pk])
    shown = text(client.post(url, {"post": "yes"}, follow=True))
    assert "GitHub has withdrawn the access" in shown
    assert not github.apps.access


@fetches
def test_a_grant_to_another_app_is_not_renewed_by_this_one(
    github: GitHub, owner: User, settings: Any
) -> None:
    pair = github.apps.grant("client-1", ("repo",)) | {"refresh_token": "r", "expires_in": 1}
    row = expired(granted("github", github.url, pair, owner=owner))
    settings.RAINBO_OAUTH_CLIENT_SECRETS = {"github": ("client-2", "x")}
    fetch(row)
    row.refresh_from_db()
    assert "another app" in row.last_error
    assert not [one for one in github.asked if one.path.endswith("access_token")]


def test_pages_lead_to_each_way(github: GitHub, owner: User) -> None:
    client = signed_in(owner)
    shown = text(client.get(reverse("admin:integrations_connection_add")))
    for name, title in NAMES.items():
        assert reverse("admin:integrations_connection_connect", args=[name]) in shown
        assert f"Connect {title}" in shown
    row = connection(github.url, owner=owner)
    assert "Connect again in the browser" in text(client.get(page(row)))
