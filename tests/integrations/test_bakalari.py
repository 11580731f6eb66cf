"""Bakaláři, against a server that keeps tokens and counts failed logins as schools' servers do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from common.errors import UsageError
from integrations import registration
from integrations.models import Connection
from integrations.registration import ConnectionInput
from localfleet.services.bakalari import Bakalari
from localfleet.services.server import Reply, running
from syncs.models import RunState, TargetState
from tests.integrations.rows import fetch, part, titles
from tests.rows import staff

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "school-password"


@pytest.fixture
def school(loopback: None) -> Iterator[Bakalari]:
    with running(Bakalari(password=PASSWORD)) as found:
        assert isinstance(found, Bakalari)
        yield found


def pupil(school: Bakalari, **fields: Any) -> Connection:
    people = get_user_model().objects
    owner = people.filter(username="ann").first() or staff("ann")
    known = {"service": "bakalari", "name": "school", "token": PASSWORD, "account": "pupil"}
    given: dict[str, Any] = {"owner": owner, "base_url": school.url} | known | fields
    return registration.add(ConnectionInput(**given))


def filled(school: Bakalari) -> None:
    school.add_mark("Maths", "1", 5)
    school.add_mark("Czech", "2-")
    school.add_absence("2026-03-03", 4)
    school.days = {"2026-03-02": ["Maths", "Czech"], "2026-03-03": []}


def test_marks_absences_and_lessons_are_read(school: Bakalari) -> None:
    filled(school)
    row = pupil(school)
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error
    assert titles(row, "mark") == ["Maths: 1", "Czech: 2-"]
    assert titles(row, "absence") == ["2026-03-03"]
    assert titles(row, "lesson") == ["Maths", "Czech"]
    assert row.records.get(title="Czech: 2-").body["weight"] is None


def test_no_data_is_a_success_with_a_warning(school: Bakalari) -> None:
    filled(school)
    row = pupil(school)
    fetch(row)
    school.marks, school.absences, school.days = [], [], {}
    run = fetch(row)
    assert part(run, row).state == TargetState.SUCCEEDED
    assert part(run, row).note == (
        "there are no marks; there are no absences; the timetable is empty"
    )
    assert titles(row, "mark") == ["Maths: 1", "Czech: 2-"], "it takes nothing as gone"


def test_a_module_that_the_school_does_not_use_is_left_out(school: Bakalari) -> None:
    filled(school)
    school.unused = {"absence/student"}
    row = pupil(school)
    run = fetch(row)
    assert part(run, row).state == TargetState.SUCCEEDED
    assert "no such module" in part(run, row).note
    assert titles(row, "mark")
    school.unused = {"absence/student", "marks", "timetable/actual"}
    assert part(fetch(row), row).state == TargetState.FAILED


def test_a_lesson_that_is_dropped_is_gone_and_other_weeks_stay(school: Bakalari) -> None:
    filled(school)
    row = pupil(school)
    fetch(row)
    school.days = {"2026-03-02": ["Maths"], "2026-03-09": ["Art"]}
    assert part(fetch(row), row).removed == 1
    assert titles(row, "lesson") == ["Maths", "Art"]


def test_a_password_is_sent_once_and_kept_no_longer(school: Bakalari) -> None:
    row = pupil(school)
    fetch(row)
    fetch(row)
    row.refresh_from_db()
    assert school.logins == 1
    assert PASSWORD not in json.dumps(row.reveal_credentials())


def test_a_wrong_password_is_never_sent_again(school: Bakalari) -> None:
    row = pupil(school, token="wrong")
    run = fetch(row)
    row.refresh_from_db()
    assert run.state == RunState.FAILED
    assert row.reconnect_since is not None
    Connection.objects.update(reconnect_since=None)
    fetch(row)
    assert (school.logins, school.failed_logins) == (1, 1)


def test_a_login_that_brings_no_answer_is_not_repeated(school: Bakalari) -> None:
    school.faults = [Reply(500, "oops")]
    row = pupil(school)
    fetch(row)
    row.refresh_from_db()
    assert row.reconnect_since is not None
    assert "sent once" in row.last_error
    registration.reconnect(row, PASSWORD)
    assert fetch(row).state == RunState.SUCCEEDED


def test_a_token_is_renewed_before_it_expires(school: Bakalari) -> None:
    row = pupil(school)
    fetch(row)
    known = Connection.objects.get(pk=row.pk).reveal_credentials()
    past = known | {"until": (timezone.now() - timedelta(seconds=1)).isoformat()}
    row.set_credentials(past)
    row.save(update_fields=["credentials"])
    assert fetch(row).state == RunState.SUCCEEDED
    renewed = Connection.objects.get(pk=row.pk).reveal_credentials()
    assert renewed["refresh_token"] != known["refresh_token"]
    assert school.logins == 1


def test_a_token_that_is_rejected_is_renewed_once(school: Bakalari) -> None:
    row = pupil(school)
    fetch(row)
    school._access.clear()
    assert fetch(row).state == RunState.SUCCEEDED
    school.forget_tokens()
    fetch(row)
    row.refresh_from_db()
    assert row.reconnect_since is not None


def test_a_renewal_whose_answer_is_lost_needs_one_reconnect_at_most(school: Bakalari) -> None:
    row = pupil(school)
    fetch(row)
    school._access.clear()
    school.loses_answers = 1
    assert fetch(row).state == RunState.FAILED
    assert not needs_a_person(row), "the service may have kept the former pair"
    fetch(row)
    assert needs_a_person(row)
    registration.reconnect(row, PASSWORD)
    assert fetch(row).state == RunState.SUCCEEDED


def needs_a_person(row: Connection) -> bool:
    row.refresh_from_db()
    return row.reconnect_since is not None


@pytest.mark.parametrize("missing", [{"account": ""}, {"base_url": ""}, {"token": ""}])
def test_what_a_login_needs_is_asked_for(school: Bakalari, missing: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        pupil(school, **missing)
