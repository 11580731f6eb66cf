"""What an application redeemed that RAINBO never issued: found, recorded, ended, reported."""

from __future__ import annotations

import csv
import io
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from activity.models import Activity
from alerts import rules
from syncs.status.problems import Problem, Severity
from tenants.models import GhostUser, RdsInstance, SupportSession
from tenants.models.support_session import SupportState
from tenants.support_access import forgeries, sessions
from tenants.support_access.problems import SUPPORT, judge
from tests.instances import InstanceFleet
from tests.pages import text_of
from tests.rows import staff
from tests.tenants.support_access.conftest import TABLE
from tests.tenants.support_access.test_sessions import ISSUER, Place
from tests.tenants.support_access.test_table import REDEEM, REQUEST, values


@pytest.fixture
def place(set_up: InstanceFleet, settings: Settings) -> Place:
    settings.RAINBO_CONSOLE_URL = ISSUER
    return Place(set_up)


def forge(place: Place, **given: object) -> dict[str, object]:
    """As the application does with an assertion that somebody signed by a stolen key."""
    forged = values(**given)
    place.there.execute(REDEEM, forged)
    return forged


def problems() -> list[Problem]:
    return [
        one for one in judge(SUPPORT.read_alone(timezone.now())) if one.cause != "support not ended"
    ]


def test_it_is_recorded_ended_and_the_most_severe_alert(place: Place, client: Client) -> None:
    forged = forge(place)
    for _ in range(2):  # it is found once
        forgeries.look()
    row = SupportSession.objects.get()
    assert (row.jti, row.is_forged, row.person_id, row.tenant_name, row.state) == (
        forged["jti"],
        True,
        place.user.pk,
        "Acme",
        SupportState.OPEN,
    )
    (problem,) = problems()
    assert problem.severity is Severity.SUPPORT_SESSION_REUSED
    assert "RAINBO never issued the support session of" in problem.text
    assert "RAINBO ends it" in problem.text
    (alert,) = rules.apply(rules.in_force([]), [problem], [])
    assert (alert.rule.name, alert.rule.level) == ("support_forged", 1)
    assert place.there.execute(REQUEST, forged), "a look reads, and the next turn ends it"
    sessions.follow()
    assert place.there.execute(REQUEST, forged) == []
    row.refresh_from_db()
    assert (row.state, row.ended_by) == (SupportState.ENDED, f"rainbo: {forgeries.ENDED_BY}")
    assert problems(), "for a day, though it is over"
    assert Activity.objects.get(action="support_session.found").subject_id == str(row.pk)
    client.force_login(staff("root", is_superuser=True))
    shown = text_of(client.get(f"/admin/tenants/supportsession/{row.pk}/change/"))
    assert "never issued" in shown
    assert "issued to" not in shown
    for unknown in ("read and change", "60 min", "ticket"):
        assert unknown not in shown, "nobody knows what its assertion said"
    listed = client.post("/admin/tenants/supportsession/export/")
    (row_,) = csv.DictReader(io.StringIO(b"".join(listed).decode("utf-8-sig")))
    assert (row_["read only"], row_["minutes"], row_["issued (UTC)"]) == ("unknown", "unknown", "")


def test_one_that_was_short_is_found_after_its_end(place: Place) -> None:
    forged = forge(place, session_seconds=60)
    place.there.execute(
        "UPDATE rainbo_support_sessions SET redeemed_at = now() - interval '2 d', "
        "ends_at = now() - interval '2 d' + interval '1 min'"
    )
    forgeries.look()
    row = SupportSession.objects.get()
    assert row.jti == forged["jti"]
    assert timezone.now() - row.issued_at > timedelta(days=1)
    sessions.follow()
    row.refresh_from_db()
    assert row.closed_at is not None
    assert len(problems()) == 1, "a day from when it was found, not from when it began"


def test_one_that_its_thief_ended_while_rainbo_was_down_is_an_alert(place: Place) -> None:
    forge(place)
    place.there.execute(
        "UPDATE rainbo_support_sessions SET redeemed_at = now() - interval '3 d', "
        "active_at = now() - interval '3 d', ends_at = now() - interval '3 d', "
        "ended_at = now() - interval '3 d', ended_by = 'thief'"
    )
    forgeries.look()
    assert len(problems()) == 1
    SupportSession.objects.update(answered_at=timezone.now() - timedelta(days=1, minutes=1))
    assert problems() == []


@pytest.mark.parametrize("number", [2, 3])
def test_the_id_of_a_session_that_rainbo_issued_hides_none(place: Place, number: int) -> None:
    """For another instance; and for the same, after the application deleted the row."""
    issued = place.issue()
    assert place.enter(issued)
    sessions.end(issued.session, "ann")
    forgeries.look()
    assert problems() == []
    there, ghost = place.fleet[number], "17"
    if number == 3:
        there.execute(TABLE.read_text())
        GhostUser.objects.create(admin_id=place.user.pk, instance_id=3, remote_id=ghost)
    old = timezone.now() - timedelta(days=2)
    SupportSession.objects.update(
        issued_at=old, expires_at=old, redeemed_at=old, closed_at=old, answered_at=old
    )
    place.there.execute("DELETE FROM rainbo_support_sessions")
    forged = values(jti=issued.session.jti)
    there.execute(REDEEM, forged)
    for _ in range(2):
        forgeries.look()
    assert there.execute(REQUEST, forged) == [], "it is ended"
    ((by,),) = there.execute("SELECT ended_by FROM rainbo_support_sessions")
    assert by == f"rainbo: {forgeries.ENDED_BY}"
    (problem,) = problems()
    assert problem.severity is Severity.SUPPORT_SESSION_REUSED
    assert f"instance {number}" in problem.text
    assert problem.text.count("another session of the same id") == 1
    assert Activity.objects.filter(action="support_session.found").count() == 1
    if number == 3:
        there.execute("DROP TABLE rainbo_support_sessions")


def test_what_rainbo_issued_is_not_forged(place: Place, settings: Settings) -> None:
    issued = place.issue()
    place.enter(issued)
    place.enter(issued)
    forgeries.look()
    assert not SupportSession.objects.filter(is_forged=True).exists()
    assert [one.cause for one in problems()] == []
    settings.RAINBO_SUPPORT_RETENTION_DAYS = 1
    sessions.end(issued.session, "ann")
    SupportSession.objects.all().delete()  # as pruning does a day later
    day = "UPDATE rainbo_support_sessions SET redeemed_at = redeemed_at - interval '1 day', "
    day += "ends_at = ends_at - interval '1 day'"
    place.there.execute(day)
    forgeries.look()
    assert not SupportSession.objects.exists()


def test_the_person_whose_ghost_user_it_is_still_enters(place: Place) -> None:
    forge(place)
    forgeries.look()
    issued = place.issue()
    assert place.enter(issued), "in the same tenant, while the forged one is being ended"
    sessions.follow()
    assert place.goes_on(issued)


def test_anothers_ghost_user_is_reported_and_left_to_a_person(place: Place) -> None:
    """Another installation may have issued it: its rows are not written, until somebody says so."""
    forged = forge(place, sub="18")
    forgeries.look()
    sessions.follow()
    assert place.there.execute(REQUEST, forged)
    (problem,) = problems()
    assert "none of this RAINBO" in problem.text
    sessions.end(SupportSession.objects.get(), "ann")
    assert place.there.execute(REQUEST, forged) == []


def test_an_instance_without_the_table_or_down_is_left_alone(place: Place) -> None:
    forge(place)
    RdsInstance.objects.filter(pk=2).update(health="down")
    forgeries.look()
    assert not SupportSession.objects.exists()
    RdsInstance.objects.filter(pk=2).update(health="healthy")
    place.there.execute("ALTER TABLE rainbo_support_sessions RENAME TO elsewhere")
    forgeries.look()
    place.there.execute("ALTER TABLE elsewhere RENAME TO rainbo_support_sessions")
    assert not SupportSession.objects.exists()


def test_a_flood_is_read_in_parts_and_shown_in_part(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.support_access.remote.MOST", 3)
    for _ in range(4):
        forge(place, jti=uuid.uuid4())
    forgeries.look()
    assert SupportSession.objects.count() == 3
    sessions.follow()
    forgeries.look()
    assert SupportSession.objects.count() == 4, "open ones come first, ended ones make room"
