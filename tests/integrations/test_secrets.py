"""No secret of any service gets out: into logs, errors, runs, pages, dumps and tracebacks."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from common.encryption import CredentialError
from integrations.models import AuthorizationRequest, Connection
from localfleet.services.server import Reply
from syncs.models import SyncRun, Trigger
from tests.caches import everything
from tests.integrations import oauth
from tests.integrations.rows import fetch, part
from tests.integrations.test_contract import allow
from tests.integrations.test_oauth import come_back, decide, start
from tests.integrations.worlds import WORLDS, World
from tests.rows import staff

pytestmark = pytest.mark.django_db(transaction=True)

SHORTEST = 6  # what is shorter is no secret: a school's "1" is everywhere
BUTTONS = ("fetch", "disconnect")


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, loopback: None) -> Iterator[World]:
    with WORLDS[request.param]() as found:
        yield found


def secrets_of(world: World, row: Connection) -> set[str]:
    """All that nobody may see: what is stored, and what the service knows."""
    server = world.server
    found = {str(getattr(server, name, "")) for name in ("token", "password", "key")}
    try:
        known = row.reveal_credentials()
    except CredentialError:
        known = {}
    shown = ("until", "client_id", "user")
    found |= {str(value) for key, value in known.items() if key not in shown}
    if apps := getattr(server, "apps", None):
        found |= {*apps.access, *apps.refresh, *apps.clients.values()}
    found |= {str(one) for name in ("_access", "_refresh") for one in getattr(server, name, ())}
    return {secret for secret in found if len(secret) >= SHORTEST}


def seen(client: Client, row: Connection, runs: list[SyncRun]) -> str:
    """What people see of a connection and its runs, on pages, in exports and dumps."""
    pages = [
        reverse("admin:integrations_connection_changelist"),
        reverse("admin:integrations_connection_change", args=[row.pk]),
        reverse("admin:integrations_connection_history", args=[row.pk]),
        reverse("admin:integrations_externalrecord_changelist", query={"connection": row.pk}),
        reverse("admin:integrations_cataloguemodel_changelist"),
        reverse("admin:activity_activity_changelist"),
        reverse("admin:syncs_syncrun_changelist"),
        *(reverse("admin:syncs_syncrun_change", args=[run.pk]) for run in runs),
    ]
    answers = [client.get(url, follow=True) for url in pages]
    assert {answer.status_code for answer in answers} == {200}
    found = [answer.content.decode() for answer in answers]
    dumped = io.StringIO()
    call_command("dumpdata", "integrations", "syncs", "activity", stdout=dumped)
    return "\n".join([*found, dumped.getvalue()])


def test_no_secret_of_a_service_gets_out(
    world: World, caplog: pytest.LogCaptureFixture, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the service answers: it may repeat in its errors what it was sent."""
    caplog.set_level(logging.DEBUG)
    world.fill()
    row = world.connect()
    Connection.objects.filter(pk=row.pk).update(owner=(root := staff("root", is_superuser=True)))
    client = Client()
    client.force_login(root)
    found, runs = secrets_of(world, row), list[SyncRun]()
    usual = world.server.answer

    def repeats(status: int, whole: bool) -> Any:
        def answer(asked: Any) -> Reply:
            if "grant_type" in asked.form:  # tokens are renewed all the same
                return cast("Reply", usual(asked))
            found.update(secrets_of(world, row))
            said = {**asked.headers, **asked.form, "error": sorted(found)}
            return Reply(status, said if whole else json.dumps(said)[:-9])

        return answer

    ways = [(500, True), (403, True), (200, True), (200, False), (401, True)]
    for answer in (usual, *(repeats(*way) for way in ways)):
        monkeypatch.setattr(world.server, "answer", answer)
        runs.append(fetch(row, force=True, trigger=Trigger.BUTTON))
        found |= secrets_of(world, row)
        row.refresh_from_db()
        monkeypatch.setattr(world.server, "answer", usual)
        allow(world, row)
        Connection.objects.filter(pk=row.pk).update(reconnect_since=None, not_before=None)
        row.refresh_from_db()
        found |= secrets_of(world, row)
    assert found or world.service == "llm_models"

    call_command("integrations_check", "--json")
    call_command("queue_failed")
    shown = seen(client, row, runs)
    for what in BUTTONS:
        url = reverse(f"admin:integrations_connection_{what}", args=[row.pk])
        shown += client.post(url, {"records": "keep"}, follow=True).content.decode()
    row.refresh_from_db()
    of_runs = [*map(everything, runs), *(part(run, row).error for run in runs)]
    of_row = [repr(row), str(vars(row)), row.last_error]
    said = "\n".join([*of_runs, *of_row, caplog.text, shown, *capsys.readouterr()])
    assert len({run.state for run in runs}) > 1, "some failed"
    assert [secret for secret in sorted(found) if secret in said] == []


@pytest.mark.parametrize("name", ["github", "google_calendar", "notion", "slack"])
def test_no_secret_of_the_way_by_the_browser_gets_out(
    name: str, loopback: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the app's secret, nor a verifier, a code or a state, whether it works or not."""
    caplog.set_level(logging.DEBUG)
    root, client = staff("root", is_superuser=True), Client()
    client.force_login(root)
    with WORLDS[name]() as world, oauth.at_server(name, world.server):
        server, shown = world.server, ""
        found = {oauth.CLIENT[1]}
        for fault in (None, Reply(500, oauth.CLIENT[1]), Reply(400, {"error": "invalid_grant"})):
            address = start(client, name, name=f"n{len(found)}")
            found.add(AuthorizationRequest.objects.latest("pk").reveal_verifier())
            brought = decide(address)
            found |= {value for key, value in brought.items() if key in ("code", "state")}
            server.faults = [fault] if fault else []
            shown += come_back(client, name, brought).content.decode()
            server.faults = []
        found |= {*server.apps.access, *server.apps.refresh}
        row = Connection.objects.get()
        shown += seen(client, row, [])
    said = f"{shown}\n{caplog.text}"
    assert [secret for secret in sorted(found) if secret in said] == []
