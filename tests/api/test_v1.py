from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from activity.models import Activity
from api import tokens
from api.models import KeyedRequest
from api.scopes import SCOPES
from syncs.dispatch import reconcile
from syncs.engine import lease, runs
from syncs.engine.options import Options
from syncs.models import Lease, RunLog, RunState, SyncRun, SyncSchedule, Trigger
from syncs.reports import run_report
from tenants.models import RdsInstance, Tenant
from tests.api.clients import client, token
from tests.caches import run_sync
from tests.instances import InstanceFleet
from tests.rows import ended_run, instance_row, run_part

pytestmark = pytest.mark.django_db
JSON = "application/json"


@pytest.fixture
def api(registered: InstanceFleet) -> Client:
    return client()


def post(api: Client, path: str, body: Any = None, **headers: str) -> Any:
    given = {} if body is None else {"data": body, "content_type": JSON}
    if body is None:
        return api.generic("POST", f"/api/v1/{path}", headers=headers)
    return api.post(f"/api/v1/{path}", headers=headers, **given)


def test_a_run_is_requested_executed_and_polled(api: Client, registered: InstanceFleet) -> None:
    registered[2].add_tenant(5)
    answer = post(api, "syncs/tenant_summaries/runs", {"instances": ["2"], "dry_run": True})
    assert answer.status_code == 202
    run = SyncRun.objects.get()
    assert answer["Location"] == f"/api/v1/runs/{run.pk}"
    assert answer.json()["joined"] is False
    assert (run.trigger, run.actor) == (Trigger.API, "token test")
    assert run.options == {"targets": ["2"], "dry_run": True}
    polled = api.get(answer["Location"])
    assert (polled.json()["state"], polled["Retry-After"]) == ("queued", "2")
    for known in (polled["ETag"], f"W/{polled['ETag']}", f'"x", {polled["ETag"]}', "*"):
        same = api.get(answer["Location"], headers={"if-none-match": known})
        assert (same.status_code, same["Retry-After"], same.content) == (304, "2", b"")
    runs.execute(run)
    again = api.get(answer["Location"], headers={"if-none-match": polled["ETag"]})
    assert again.status_code == 200
    assert again.json() == run_report.document(SyncRun.objects.get())
    assert again.json()["targets"][0]["read"] == 1
    assert "Retry-After" not in again


def test_every_change_of_a_run_changes_its_tag(api: Client) -> None:
    run = SyncRun.objects.create(sync="tenant_summaries", trigger=Trigger.API)

    def tag() -> str:
        return str(api.get(f"/api/v1/runs/{run.pk}")["ETag"])

    seen = [tag()]
    part = run_part(run, "1")
    seen.append(tag())
    part.read = 7
    part.save()
    seen.append(tag())
    SyncRun.objects.update(state=RunState.RUNNING)
    seen.append(tag())
    SyncRun.objects.update(cancel_requested_at=timezone.now())
    seen.append(tag())
    assert len(set(seen)) == len(seen)
    assert tag() == seen[-1]


def test_a_request_joins_a_run_that_waits_and_would_do_the_same(api: Client) -> None:
    first = post(api, "syncs/tenant_summaries/runs", {"instances": ["3", "2"]}).json()
    second = post(api, "syncs/tenant_summaries/runs", {"instances": ["2", "3", "2"]}).json()
    other = post(api, "syncs/tenant_summaries/runs", {"instances": ["2"]}).json()
    assert (second["run"], second["joined"]) == (first["run"], True)
    assert other["run"] != first["run"]
    run = SyncRun.objects.get(pk=first["run"])
    runs.execute(run)
    assert post(api, "syncs/tenant_summaries/runs", {"instances": ["2", "3"]}).json()["joined"] is (
        False
    )


def test_the_same_key_gets_the_same_run(api: Client) -> None:
    body, key = {"instances": ["2"]}, {"idempotency-key": "deploy-17"}
    first = post(api, "syncs/tenant_summaries/runs", body, **key).json()
    runs.execute(SyncRun.objects.get())
    again = post(api, "syncs/tenant_summaries/runs", body, **key)
    assert (again.status_code, again.json()["run"]) == (200, first["run"])
    assert again.json()["state"] == "succeeded"
    other = post(api, "syncs/tenant_summaries/runs", {"instances": ["3"]}, **key)
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]
    assert SyncRun.objects.count() == 1


def test_a_key_lasts_a_day_whether_or_not_it_was_deleted_yet(api: Client) -> None:
    key = {"idempotency-key": "nightly"}
    first = post(api, "syncs/instance_health/runs", {}, **key).json()
    runs.execute(SyncRun.objects.get())
    KeyedRequest.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    second = post(api, "syncs/instance_health/runs", {}, **key).json()
    assert second["run"] != first["run"]
    assert post(api, "syncs/instance_health/runs", {}, **key).json()["run"] == second["run"]


def test_a_key_belongs_to_the_token_and_not_to_its_name(registered: InstanceFleet) -> None:
    first = tokens.create("ci", [*SCOPES], "ann")
    key = {"idempotency-key": "deploy"}
    mine = post(client(secret=first.secret), "syncs/instance_health/runs", {}, **key).json()
    tokens.revoke(first.token, "ann")
    runs.execute(SyncRun.objects.get())
    second = client(secret=tokens.create("ci", [*SCOPES], "ann").secret)
    assert post(second, "syncs/instance_health/runs", {}, **key).json()["run"] != mine["run"]


def test_a_run_that_meets_one_in_progress_waits_for_its_end(api: Client) -> None:
    first = SyncRun.objects.create(sync="instance_health", trigger=Trigger.COMMAND)
    claimed = lease.claim(first)
    asked = SyncRun.objects.get(pk=post(api, "syncs/instance_health/runs", {}).json()["run"])
    assert runs.execute(asked).state == RunState.QUEUED
    lease.release("instance_health", claimed)
    assert runs.execute(asked).state == RunState.SUCCEEDED


def test_it_waits_for_a_run_that_ends_in_time(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.requests.time.sleep", lambda _: runs.execute(SyncRun.objects.get()))
    answer = post(api, "syncs/instance_health/runs", {}, prefer="wait=5")
    assert (answer.status_code, answer["Preference-Applied"]) == (200, "wait=5")
    assert answer.json()["state"] == "succeeded"


def test_it_answers_202_when_waiting_was_not_enough(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("api.requests.time.sleep", slept.append)
    monkeypatch.setattr("api.requests.time.monotonic", lambda: len(slept) * 1.0)
    answer = post(api, "syncs/instance_health/runs", {}, prefer="respond-async, wait=999")
    assert (answer.status_code, len(slept)) == (202, 20)


@pytest.mark.parametrize(
    ("sync", "body", "field"),
    [
        ("tenant_summaries", {"instances": ["9"]}, "instances"),
        ("tenant_summaries", {"instances": [""]}, "instances"),
        ("tenant_summaries", {"instances": [2]}, "instances"),
        ("tenant_summaries", {"instances": "2"}, "instances"),
        ("tenant_summaries", {"instances": ["2"] * 1001}, "instances"),
        ("tenant_summaries", {"force": "yes"}, "force"),
        ("tenant_summaries", {"dry_run": 1}, "dry_run"),
        ("tenant_summaries", {"accept_held": 1}, "accept_held"),
        ("instance_health", {"force": True}, "force"),
        ("user_routing", {"instances": ["1"]}, "instances"),
    ],
)
def test_what_a_sync_cannot_do_is_refused(
    api: Client, sync: str, body: dict[str, Any], field: str
) -> None:
    answer = post(api, f"syncs/{sync}/runs", body)
    assert answer.status_code == 422
    assert field in " ".join(error["field"] for error in answer.json()["errors"])
    assert not SyncRun.objects.exists()


def test_an_unknown_sync_is_404(api: Client) -> None:
    for answer in (post(api, "syncs/nope/runs", {}), api.get("/api/v1/syncs/nope")):
        assert answer.status_code == 404
        assert "user_routing" in answer.json()["detail"]


def test_runs_are_found_by_filters_page_by_page(api: Client) -> None:
    for number in range(7):
        run = ended_run("user_routing" if number % 2 else "ghost_users")
        run_part(run, str(number))
    every = [run.pk for run in SyncRun.objects.order_by("-pk")]
    address: str | None = "/api/v1/runs?limit=3"
    read: list[int] = []
    while address:
        page = api.get(address).json()
        read += [run["run"] for run in page["runs"]]
        address = page["next"]
    assert read == every
    found = api.get("/api/v1/runs?sync=ghost_users&state=succeeded&instance=4").json()["runs"]
    assert [run["sync"] for run in found] == ["ghost_users"]
    assert api.get("/api/v1/runs?state=broken").status_code == 422


def test_runs_of_a_sync_that_never_was_are_refused_by_the_names_of_those_that_are(
    api: Client,
) -> None:
    answer = api.get("/api/v1/runs?sync=user_routes")
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "sync"
    assert "no sync is named 'user_routes'" in error["detail"]
    assert "user_routing" in error["detail"]
    ended_run("withdrawn")  # of a service that is no longer installed
    assert len(api.get("/api/v1/runs?sync=withdrawn").json()["runs"]) == 1
    assert api.get("/api/v1/runs?sync=user_routing").json()["runs"] == []


def test_the_log_and_what_is_held_are_read_page_by_page(api: Client) -> None:
    run = ended_run("user_routing", RunState.HELD)
    for number in range(3):
        RunLog.objects.create(run=run, message=f"line {number}", target="1")
        run.held_changes.create(target="1", kind="removed", source_id=str(number))
    log = api.get(f"/api/v1/runs/{run.pk}/log?limit=2").json()
    assert [line["message"] for line in log["lines"]] == ["line 0", "line 1"]
    assert [line["message"] for line in api.get(log["next"]).json()["lines"]] == ["line 2"]
    held = api.get(f"/api/v1/runs/{run.pk}/held?limit=2&instance=1").json()
    assert [change["source_id"] for change in held["changes"]] == ["0", "1"]
    assert [change["source_id"] for change in api.get(held["next"]).json()["changes"]] == ["2"]


def test_a_queued_run_is_cancelled_and_an_ended_one_not(api: Client) -> None:
    run = SyncRun.objects.create(sync="user_routing", trigger=Trigger.API)
    answer = post(api, f"runs/{run.pk}/cancel")
    assert (answer.status_code, answer.json()["result"]) == (200, "cancelled")
    assert post(api, f"runs/{run.pk}/cancel").status_code == 409
    assert post(api, "runs/999/cancel").status_code == 404
    entry = Activity.objects.get(action="run.cancelled")
    assert (entry.actor, entry.address) == ("token test", "127.0.0.1")
    run.refresh_from_db()
    assert "token test" in run.error


def test_a_run_whose_process_is_gone_is_cancelled_as_the_description_says(
    api: Client, settings: Settings
) -> None:
    """When it is asked again, too, and both requests are recorded."""
    settings.RAINBO_LEASE_TTL, settings.RAINBO_LEASE_RENEWAL = 3600, 600
    run = ended_run("user_routing", RunState.RUNNING)
    lease.claim(run)
    assert post(api, f"runs/{run.pk}/cancel").json()["result"] == "asked"
    assert post(api, f"runs/{run.pk}/cancel").status_code == 202
    Lease.objects.update(renewed_at=timezone.now() - timedelta(hours=1))
    answer = post(api, f"runs/{run.pk}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    schema = Client().get("/api/v1/openapi.json").json()["components"]["schemas"]["Cancelled"]
    assert answer.json()["result"] in schema["properties"]["result"]["enum"]
    recorded = Activity.objects.filter(action="run.cancelled").order_by("pk")
    states = recorded.values_list("after__state", flat=True)
    assert [*states] == ["running", "cancelled"]


def test_a_schedule_is_paused_and_resumed(api: Client) -> None:
    reconcile.reconcile()
    until = (timezone.now() + timedelta(days=1)).isoformat()
    answer = post(api, "schedules/user_routing/pause", {"until": until, "reason": "upgrade"})
    assert (answer.status_code, answer.json()["pause_reason"]) == (200, "upgrade")
    kept = SyncSchedule.objects.get(sync="user_routing")
    assert kept.paused_by == "token test"
    assert post(api, "schedules/user_routing/resume").json()["paused_until"] is None
    actions = Activity.objects.order_by("id").values_list("action", flat=True)
    assert [*actions] == ["schedule.paused", "schedule.resumed"]


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "x"},
        {"until": "2020-01-01T00:00:00Z", "reason": "past"},
        {"until": "2099-01-01T00:00:00Z", "reason": "more than a year"},
        {"until": "2099-01-01T00:00:00", "reason": "without a zone"},
        {"until": "soon", "reason": "x"},
        {"until": "2027-01-01T00:00:00Z", "reason": ""},
        {"until": "2027-01-01T00:00:00Z", "reason": " "},
        {"until": "2027-01-01T00:00:00Z", "reason": "x" * 256},
    ],
)
def test_a_pause_that_cannot_be_is_refused(api: Client, body: dict[str, Any]) -> None:
    reconcile.reconcile()
    assert post(api, "schedules/user_routing/pause", body).status_code == 422
    assert SyncSchedule.objects.get(sync="user_routing").paused_until is None


def test_the_documents_are_those_of_the_commands(
    api: Client, registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    registered.master.add_route(1, "ann@example.com")
    run_sync("user_routing")
    call_command("find_user", "ann@example.com", "--json")
    printed = json.loads(capsys.readouterr().out)
    found = api.get("/api/v1/find", {"email": "ann@example.com"}).json()
    assert found["found"] is True
    for document in (printed, found):
        document["cache"].pop("age_seconds")
    assert found == printed
    call_command("rainbo_status", "--json")
    printed = json.loads(capsys.readouterr().out)
    fresh = api.get("/api/v1/freshness").json()
    assert [sync["state"] for sync in fresh["syncs"]] == [s["state"] for s in printed["syncs"]]
    assert api.get("/api/v1/problems").json()["problems"] == printed["problems"]
    one = api.get("/api/v1/syncs/user_routing").json()
    assert one["targets"][0]["state"] == "on_time"


def test_what_can_be_no_email_is_refused(api: Client) -> None:
    assert api.get("/api/v1/find").status_code == 422
    assert api.get("/api/v1/find?email=").status_code == 422
    assert api.get("/api/v1/find?email=a%0Ab").status_code == 422


def test_instances_show_unknown_as_unknown_and_no_address(api: Client) -> None:
    RdsInstance.objects.filter(pk=2).update(health="down", last_error="it is down")
    entries = api.get("/api/v1/instances").json()["instances"]
    assert [entry["health"] for entry in entries] == ["unknown", "down", "unknown"]
    assert entries[0]["latency_ms"] is None
    row = RdsInstance.objects.get(pk=1)
    shown = api.get("/api/v1/instances").content.decode()
    assert row.user not in shown.replace("rds", "")
    assert str(row.port) not in shown


def test_people_are_shown_to_tokens_that_may_find_them(db: None) -> None:
    Tenant.objects.create(
        instance=instance_row(1),
        remote_id="1",
        name="Kestrel",
        contact_email="ann@example.com",
        cache_refreshed_at=timezone.now(),
    )
    run = ended_run("user_routing", RunState.HELD)
    run.held_changes.create(target="1", kind="removed", source_id="1", detail="ann@example.com")
    without, with_people = client("syncs:read", "fleet:read"), token_client("people:find")
    paths = ("tenants", f"runs/{run.pk}/held")
    assert "ann@" not in "".join(without.get(f"/api/v1/{p}").content.decode() for p in paths)
    assert without.get(f"/api/v1/runs/{run.pk}/held").status_code == 403
    assert all("ann@" in with_people.get(f"/api/v1/{path}").content.decode() for path in paths)


def token_client(*scopes: str) -> Client:
    return client(secret=token("syncs:read", "fleet:read", *scopes, name="people"))


def test_problems_are_those_that_the_scopes_may_see(registered: InstanceFleet) -> None:
    RdsInstance.objects.filter(pk=2).update(health="down")
    few = client("syncs:read").get("/api/v1/problems").json()["problems"]
    all_of_them = token_client().get("/api/v1/problems").json()["problems"]
    down = [problem for problem in all_of_them if problem["severity"] == "instance down"]
    assert down
    assert not [problem for problem in few if problem in down]


def test_tenants_are_found_by_filters_page_by_page(db: None) -> None:
    first, second = instance_row(1), instance_row(2)
    now = timezone.now()
    for number in range(5):
        Tenant.objects.create(
            instance=second if number % 2 else first,
            remote_id=str(number),
            name=f"Kestrel {number}",
            status="active" if number else "trial",
            cache_refreshed_at=now,
            vanished_at=now if number == 3 else None,
        )
    api = client("fleet:read")

    def found(query: str) -> list[str]:
        page = api.get(f"/api/v1/tenants?{query}").json()
        return [entry["tenant"] for entry in page["tenants"]]

    assert found("") == ["0", "1", "2", "3", "4"]
    assert found("instance=2") == ["1", "3"]
    assert found("status=trial") == ["0"]
    assert found("vanished=true") == ["3"]
    assert found("vanished=false&instance=2") == ["1"]
    assert found("q=kest") == ["0", "1", "2", "3", "4"]
    assert found("q=2") == ["2"]
    page = api.get("/api/v1/tenants?limit=2&q=kest").json()
    assert "q=kest" in page["next"]
    assert [e["tenant"] for e in api.get(page["next"]).json()["tenants"]] == ["2", "3"]
    assert api.get("/api/v1/tenants").json()["tenants"][0]["user_count"] is None


def test_head_answers_like_get_without_a_body(api: Client) -> None:
    answer = api.head("/api/v1/runs")
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.head("/api/v1/nothing").status_code == 404


def test_a_sync_lists_its_runs_options_as_stored(api: Client) -> None:
    runs.request("tenant_summaries", Options(targets=("2",), force=True), Trigger.COMMAND, "ann")
    (run,) = api.get("/api/v1/runs?actor=ann").json()["runs"]
    assert run["options"] == {"targets": ["2"], "force": True}
