"""Whom a problem affects, in numbers: what is unknown is called so."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerts import affected, evaluation, messages, queries
from alerts.models import Incident, Notice, Rule
from syncs.models import Confirmation, Heartbeat
from syncs.status.problems import Problem
from tenants.models import GhostUser, RdsInstance
from tenants.models.ghost import GhostState
from tenants.models.instance import Health
from tests.alerts.rows import HOUR, MINUTE, channel, problem
from tests.integrations import rows as connections
from tests.rainbo import fleets
from tests.rows import support_session
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db
TENANTS = {"1": 14, "2": 26, "3": None, "4": 0}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (problem(affected=("1",)), "1 instance and 14 tenants"),
        (problem(affected=("1", "2")), "2 instances and 40 tenants"),
        (problem(affected=("4",)), "1 instance and 0 tenants"),
        (problem(affected=("3",)), "1 instance and an unknown number of tenants"),
        (problem(affected=("9",)), "1 instance and an unknown number of tenants"),
        (problem(affected=("1", "3")), "2 instances and at least 14 tenants"),
        (problem(affected=("connection/7",)), "1 connection"),
        (problem(affected=("1", "connection/7")), "1 instance, 1 connection and 14 tenants"),
        (problem(affected=(), about_all="instance"), "4 instances and at least 40 tenants"),
        (problem(affected=(), about_all="connection"), "an unknown number of connections"),
        (problem(affected=("2",), tenants=1), "1 instance and 1 tenant"),
        (problem(affected=("2",), people=2), "2 people, 1 instance and 26 tenants"),
        (problem(affected=(), tenants=11, people=1), "1 person and 11 tenants"),
        (problem(affected=(), tenants=1, people=None), "an unknown number of people and 1 tenant"),
        (problem(affected=()), ""),
    ],
    ids=range(15),
)
def test_counts_and_their_words(one: Problem, words: str) -> None:
    assert affected.in_words(affected.count(one, TENANTS)) == words


def test_nothing_is_counted_where_nothing_is_known() -> None:
    """Without an active instance; and what a version before stored."""
    found = affected.count(problem(affected=(), about_all="instance"), {})
    words = "an unknown number of instances and an unknown number of tenants"
    assert affected.in_words(found) == words
    assert affected.in_words({}) == ""


def test_what_the_sources_find_is_counted_without_a_query_more() -> None:
    """And reaches messages, documents and what is stored."""
    fleets.write(4, 0)
    default_schedules()
    for key, count in TENANTS.items():
        Confirmation.objects.filter(sync="tenant_summaries", target=key).update(rows=count or 0)
    Confirmation.objects.filter(sync="tenant_summaries", target="3").delete()
    RdsInstance.objects.filter(pk=4).update(has_tenants=False)
    RdsInstance.objects.filter(pk__in=(2, 3)).update(health=Health.DOWN)
    now = timezone.now()
    Heartbeat.objects.create(worker="host:1", at=now - HOUR)
    for admin in (990, 991):
        known = {"wanted": GhostState.INACTIVE, "confirmed": GhostState.ACTIVE}
        GhostUser.objects.create(admin_id=admin, instance_id=1, **known)
    support_session(redeemed_at=now, refused=1, refused_at=now)
    row = connections.connection(reconnect_since=now, last_error="revoked")
    Rule.objects.update(hold_seconds=0)
    channel()
    with CaptureQueriesContext(connection) as captured:
        evaluation.evaluate()
    asked = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert len(asked) <= 10
    found = {
        incident.rule: affected.in_words(incident.affected_counts)
        for incident in Incident.objects.order_by("-key")
    }
    assert {name: words for name, words in found.items() if name in EXPECTED} == EXPECTED
    assert row.key
    notices = list(Notice.objects.select_related("incident"))
    content = messages.compose(notices, now, personal_data=False)
    assert "Affects 1 instance and 26 tenants." in messages.as_text(content)
    (item,) = [one for one in content["incidents"] if one["key"] == "instance/2/down"]
    (document,) = queries.documents(list(Incident.objects.filter(key="instance/2/down")), now)
    for shown in (item, document):
        assert shown["affected_counts"]["tenants"] == 26
    RdsInstance.objects.update(health=Health.HEALTHY)
    later = now + MINUTE
    evaluation.apply(evaluation.find(now), later)
    end = Incident.objects.get(key="instance/2/down")
    notice = Notice(incident=end, kind="resolved")
    text = messages.as_text(messages.compose([notice], later, personal_data=False))
    assert "Affected 1 instance and 26 tenants." in text
    Incident.objects.filter(pk=end.pk).update(affected_counts={})
    (old,) = queries.documents(list(Incident.objects.filter(pk=end.pk)), now)
    assert old["affected_counts"]["tenants"] is None


EXPECTED = {
    "instance_down": "1 instance and 26 tenants",
    "workers_dead": "4 instances and at least 40 tenants",
    "leaver": "2 people, 1 instance and 14 tenants",
    "support_reused": "1 instance and 1 tenant",
    "reconnect": "1 connection",
}
