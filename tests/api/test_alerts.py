from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from activity.models import Activity
from alerts import evaluation
from alerts.models import Incident, Mute
from common.clock import database_now
from tenants.models import RdsInstance
from tests.api.clients import client
from tests.rows import instance_row

pytestmark = pytest.mark.django_db(transaction=True)
JSON = "application/json"


@pytest.fixture
def incident() -> Incident:
    """An open one."""
    now = timezone.now()
    return Incident.objects.create(
        key="instance/2/down",
        rule="instance_down",
        level=1,
        rank=3,
        title="An instance is down",
        text="Instance 2 (rds2) is down",
        brief="Instance 2 (rds2) is down",
        link_kind="instance",
        link_key="2",
        affected=["2"],
        since=now,
        seen_since=now,
        opened_at=now,
        last_seen_at=now,
    )


@pytest.fixture
def api() -> Client:
    return client("alerts:read", "alerts:write")


def test_incidents_are_listed_and_shown(api: Client, incident: Incident) -> None:
    (entry,) = api.get("/api/v1/alerts").json()["incidents"]
    assert (entry["incident"], entry["level"], entry["affected"]) == (incident.pk, "urgent", ["2"])
    assert api.get(f"/api/v1/alerts/{incident.pk}").json() == entry
    Incident.objects.update(resolved_at=timezone.now())
    assert api.get("/api/v1/alerts").json()["incidents"] == []
    page = api.get("/api/v1/alerts/history?limit=1").json()
    assert [row["incident"] for row in page["incidents"]] == [incident.pk]
    assert api.get("/api/v1/alerts/999").status_code == 404


def test_an_incident_is_acknowledged_and_muted(api: Client, incident: Incident) -> None:
    until = (timezone.now() + timedelta(days=1)).isoformat()
    path = f"/api/v1/alerts/{incident.pk}"
    done = api.generic("POST", f"{path}/acknowledge").json()
    assert (done["acknowledged_by"], done["acknowledged_until"]) == ("token test", None)
    body = {"until": until, "reason": "upgrade"}
    muted = api.post(f"{path}/mute", body, content_type=JSON).json()
    assert muted["mute_reason"] == "upgrade"
    assert Mute.objects.get().by == "token test"
    actions = Activity.objects.order_by("id").values_list("action", "actor")
    assert [*actions] == [
        ("incident.acknowledged", "token test"),
        ("incident.muted", "token test"),
    ]
    Incident.objects.update(resolved_at=timezone.now())
    assert api.generic("POST", f"{path}/acknowledge").status_code == 409


def test_a_mute_is_ended(api: Client, incident: Incident) -> None:
    path = f"/api/v1/alerts/{incident.pk}"
    refused = api.generic("POST", f"{path}/unmute")
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        f"Incident {incident.pk} is not muted.",
    )
    until = database_now() + timedelta(hours=1)
    Mute.objects.create(key=incident.key, until=until, reason="upgrade", by="ann")
    ended = api.generic("POST", f"{path}/unmute").json()
    assert (ended["muted_until"], ended["mute_reason"]) == (None, "")
    assert Activity.objects.get().action == "incident.unmuted"
    assert incident.events.get().actor == "token test"
    Mute.objects.update(until=until)
    Incident.objects.update(resolved_at=timezone.now())
    assert api.generic("POST", f"{path}/unmute").status_code == 409
    assert api.generic("POST", "/api/v1/alerts/999/unmute").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "x"},
        {"until": "2020-01-01T00:00:00Z", "reason": "past"},
        {"until": "2099-01-01T00:00:00Z", "reason": "more than a year"},
        {"until": "2099-01-01T00:00:00", "reason": "without a zone"},
        {"until": "2027-01-01T00:00:00Z", "reason": " "},
    ],
)
def test_a_mute_that_cannot_be_is_refused(
    api: Client, incident: Incident, body: dict[str, Any]
) -> None:
    path = f"/api/v1/alerts/{incident.pk}/mute"
    assert api.post(path, body, content_type=JSON).status_code == 422
    assert not Mute.objects.exists()


def test_only_who_may_write_acts(incident: Incident) -> None:
    reader = client("alerts:read")
    for act in ("acknowledge", "unmute"):
        assert reader.generic("POST", f"/api/v1/alerts/{incident.pk}/{act}").status_code == 403
    assert reader.get("/api/v1/alerts").status_code == 200


def test_what_the_evaluation_opens_is_listed(api: Client) -> None:
    instance_row(1, is_master=True)
    RdsInstance.objects.update(health="down", last_check_at=timezone.now())
    for minutes in (0, 10):
        now = database_now() + timedelta(minutes=minutes)
        evaluation.apply(evaluation.find(now), now)
    opened = api.get("/api/v1/alerts").json()["incidents"]
    assert "instance_down" in {entry["rule"] for entry in opened}
