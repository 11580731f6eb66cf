"""Tokens that end soon are named before their programs are refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerts import evaluation
from api import token_problems, tokens
from api.models import ApiToken
from syncs.reports import problem_links
from syncs.status import problems

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def token(name: str, left: float | None, **fields: object) -> ApiToken:
    made = tokens.create(name, ["syncs:read"], "ann").token
    ends = None if left is None else timezone.now() + left * DAY
    ApiToken.objects.filter(pk=made.pk).update(expires_at=ends, **fields)
    return ApiToken.objects.get(pk=made.pk)


def test_the_first_page_names_those_of_the_next_two_weeks() -> None:
    now = timezone.now()
    for name, left in (
        *(("never", None), ("soon", 13.9), ("later", 14.1), ("over", -2), ("forgotten", -31)),
        *(("in months", 98),),
    ):
        token(name, left)
    token("revoked", 3, revoked_at=now)
    facts = token_problems.TOKENS.read_alone(now)
    assert [one.name for one in facts.ending] == ["over", "soon", "later"]
    found = list(token_problems.judge(facts))
    assert ["expired" in p.text for p in found] == [True, False]
    assert "the API token soon (never used) expires on" in found[1].text
    assert [round(p.measure or 0) for p in token_problems.watch(facts)] == [-2, 14, 14]
    assert {p.key for p in found} <= {p.key for p in problems.judge(problems.read(now))}


def test_a_rule_makes_an_incident_of_it_with_a_link_to_its_page() -> None:
    made = token("ci", 3, last_used_at=timezone.now())
    (found,) = [f for f in evaluation.find(timezone.now()).found if f.rule.name == "token_ends"]
    assert found.key == f"token/{made.pk}"
    assert problem_links.path(found.problem.link.kind, found.problem.link.key).endswith(
        f"/apitoken/{made.pk}/change/"
    )
    assert "rbo_" not in found.problem.text


def test_they_are_one_query() -> None:
    with CaptureQueriesContext(connection) as captured:
        token_problems.TOKENS.read_alone(timezone.now())
    assert len(captured) == 1
