"""Several questions in one statement: what is answered is what each alone would be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.joint_query import Question, Statement, answer, as_model, compiled
from syncs.models import Confirmation
from tenants.models import RdsInstance
from tests.rows import confirmation, instance_row

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 30, 5, 6, 7, 890123, tzinfo=UTC)
SHARE = Statement("SELECT %(text)s AS text, '100 %%' AS share", {"text": "50 % of {it}, it's"})


def test_each_question_is_answered_in_its_order_by_one_statement() -> None:
    for number in (2, 1):
        instance_row(number, name=f"%s {number}")
    confirmation(target="1", now=AT, ago=AT - AT)
    rows = RdsInstance.objects.order_by("-pk")
    questions: dict[str, Question] = {
        "share": SHARE,
        "instances": rows.values("id", "name"),
        "compiled": compiled(rows.filter(name__contains="%s").values("id")),
        "nobody": rows.filter(pk=99).values("id"),
        "impossible": rows.filter(pk__in=[]).values("id"),
        "confirmations": Confirmation.objects.values("at", "target"),
    }
    with CaptureQueriesContext(connection) as asked:
        found = answer(questions)
    assert len(asked) == 1
    assert found["share"] == [{"text": "50 % of {it}, it's", "share": "100 %"}]
    assert found["instances"] == [{"id": 2, "name": "%s 2"}, {"id": 1, "name": "%s 1"}]
    assert found["compiled"] == [{"id": 2}, {"id": 1}]
    assert (found["nobody"], found["impossible"]) == ([], [])
    (row,) = found["confirmations"]
    assert datetime.fromisoformat(row["at"]) == AT


def test_without_questions_nothing_is_asked() -> None:
    with CaptureQueriesContext(connection) as asked:
        assert answer({"none": RdsInstance.objects.none().values("id")}) == {"none": []}
    assert len(asked) == 0


def test_a_row_as_a_model_has_its_types_and_reads_what_it_was_not_given() -> None:
    instance_row(1, last_check_at=AT, host="rds.example.com")
    (row,) = answer({"all": RdsInstance.objects.values("id", "name", "last_check_at")})["all"]
    found = as_model(RdsInstance, row)
    assert (found.pk, found.last_check_at, str(found)) == (1, AT, "instance 1 (rds1)")
    assert found.get_deferred_fields() >= {"host", "password"}
    assert found.host == "rds.example.com"
