"""What a rule would have found: the same as the rule itself, at each time of the last 7 days."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerts import preview, rules, run_facts
from alerts.models import Level, Rule
from alerts.preview import Episode
from alerts.rules import OF_RUNS, RULES
from api import tokens
from common.joint_query import answer
from syncs.models import RunState, SyncRun, TargetState
from syncs.status import past, statistics
from syncs.status.problems import Sight
from tenants.health import past as health_past
from tenants.models import InstanceCheck, SupportSession
from tenants.models.instance import Health
from tenants.support_access import problems as support
from tests.alerts.rows import HOUR, MINUTE, NOW, problem, see
from tests.rows import ended_run, instance_row, run_part, staff, support_session
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db
DAY = 24 * HOUR
MISSED = "missed: nothing ran it in time"


def episodes(name: str, *sights: tuple[int, float | None], **values: Any) -> list[tuple[int, ...]]:
    """sights: minute and measure; None where there was no problem. Begin, end (-1: none), flaps."""
    rule = replace(RULES[name], **values)
    known = [
        Sight(NOW + at * MINUTE, "x", None if m is None else problem("x", measure=m))
        for at, m in sights
    ]
    found = preview.episodes(rule, known, NOW, NOW + 1_000 * MINUTE)
    return [(_minute(one.begin), _minute(one.end), one.came_back) for one in found]


def _minute(at: datetime | None) -> int:
    return -1 if at is None else int((at - NOW) / MINUTE)


def test_the_threshold_and_the_hold_are_the_rules() -> None:
    lag = ((0, 200.0), (10, 301.0), (14, 300.0), (50, 400.0), (55, 600.0), (90, 10.0))
    assert episodes("replica_lag", *lag) == [(50, 90, 0)]
    assert episodes("replica_lag", *lag, hold=4 * MINUTE) == [(50, 90, 0), (10, 14, 0)]
    assert episodes("replica_lag", *lag, hold=41 * MINUTE) == []
    assert episodes("replica_lag", *lag, threshold=500) == [(55, 90, 0)]
    assert episodes("replica_lag", *lag, threshold=601) == []


def test_what_comes_back_soon_is_one_incident_and_what_lasts_is_open() -> None:
    seen = ((1, 5.0), (10, None), (24, 5.0), (30, None), (45, 5.0))
    assert episodes("instance_down", *seen) == [(45, -1, 0), (1, 30, 1)]
    assert episodes("instance_down", (-90, 5.0), (-60, None)) == []  # over before
    assert episodes("instance_down", (-90, 5.0), (60, None)) == [(-90, 60, 0)]


def test_checks_of_instances() -> None:
    """One missed check, two, a replica that lags, and one of an instance that is not active."""
    now = timezone.now().replace(second=0, microsecond=0)
    for number in (1, 2, 3, 4):
        instance_row(number, is_active=number < 4)
    healths = {1: "hdhhddhh", 2: "hggggghd", 4: "dddddddd"}
    lags = (None, 61.0, 299.0, 300.0, 301.0, 320.0, 2.0, None)
    for number, letters in healths.items():
        for place, letter in enumerate(letters):
            health = {"h": Health.HEALTHY, "d": Health.DOWN, "g": Health.DEGRADED}[letter]
            at = now - (8 - place) * MINUTE
            lag = lags[place] if number == 2 else None
            InstanceCheck.objects.create(
                instance_id=number, minute=at, health=health, replica_lag_s=lag
            )

    def found(name: str, **values: Any) -> list[tuple[str, int, int | None]]:
        shown = preview.preview(replace(RULES[name], hold=timedelta(), **values), now)
        return [
            (one.problem.link.key, _ago(one.begin, now), _ago(one.end, now) if one.end else None)
            for one in shown.episodes
        ]

    assert found("instance_down") == [("1", 3, 2)]  # from its second check
    assert found("instance_down", threshold=1) == [("2", 1, None), ("1", 7, 2)]
    assert found("instance_down", threshold=3) == []
    assert found("degraded") == [("2", 7, 2)]
    assert found("replica_lag") == [("2", 4, 2)]
    assert found("replica_lag", threshold=299) == [("2", 5, 2)]
    with CaptureQueriesContext(connection) as captured:
        preview.preview(RULES["instance_down"], now)
    assert len(captured) == 1


def test_checks_are_known_as_far_back_as_they_are_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of an instance that is not active take no other's place."""
    monkeypatch.setattr(health_past, "MOST", 4)
    now = timezone.now().replace(second=0, microsecond=0)
    instance_row(1), instance_row(2, is_active=False)
    for minutes in range(1, 7):
        for number in (1, 2):
            at = now - minutes * MINUTE
            InstanceCheck.objects.create(instance_id=number, minute=at, health=Health.DOWN)
    found = preview.preview(RULES["instance_down"], now)
    assert found.since == now - 4 * MINUTE
    monkeypatch.setattr(health_past, "MOST", 7)
    assert preview.preview(RULES["instance_down"], now).since == now - preview.SPAN


def _ago(at: datetime, now: datetime) -> int:
    return int((now - at) / MINUTE)


@pytest.mark.parametrize("seed", range(3))
def test_rules_of_runs_are_judged_as_they_were(seed: int) -> None:
    """At any time, an incident is there exactly if the rule itself finds one then."""
    choose, now = random.Random(seed), timezone.now()
    rows, ago = [], 9 * DAY
    while ago > timedelta():
        kind = choose.choice(("quick", "slow", "failed", "failed", "missed", "missed", "quiet"))
        for _ in range(choose.randint(1, 12)):
            ago -= timedelta(minutes=choose.choice((1, 20, 90, 300)))
            known: dict[str, Any] = {"sync": "user_routing", "trigger": "schedule"}
            end = {"finished_at": now - ago, "started_at": now - ago}
            if kind == "missed":
                state = {"state": RunState.SKIPPED, "slot": now - ago, "error": MISSED}
            elif kind == "failed":
                state = {"state": choose.choice((RunState.FAILED, RunState.LOST)), "seconds": None}
            elif kind == "quiet":
                state = {"state": RunState.CANCELLED}
            else:
                state = {"state": RunState.SUCCEEDED, "seconds": 10 if kind == "quick" else 900}
            rows.append(SyncRun(**known | end | state))
    SyncRun.objects.bulk_create(rows)
    SyncRun.objects.update(created_at=timezone.now() - 10 * DAY)
    for row in SyncRun.objects.all():
        row.created_at = row.finished_at or now
        row.save(update_fields=["created_at"])
    for name, threshold in (
        *(("failures_in_a_row", 3), ("failures_in_a_row", 7), ("failure_rate", 50)),
        *(("slow", 300), ("missed", 2), ("missed", 5)),
    ):
        rule = replace(RULES[name], threshold=threshold)
        found = preview.preview(rule, now).episodes
        times = [now - timedelta(minutes=choose.randint(0, 7 * 24 * 60 - 1)) for _ in range(20)]
        for at in [*times, *(one.begin for one in found)]:
            facts = next(one for one in facts_at(at) if one.of.sync == "user_routing")
            expected = rules.judge_runs(rule, facts) is not None
            if not expected and any(_is_between(one, at) for one in found):
                continue  # it was gone for less than 15 min, and came back: the same incident
            assert any(_covers(one, at) for one in found) is expected, (name, at)


def facts_at(at: datetime) -> list[rules.RunFacts]:
    return run_facts.facts_in(answer({"runs": run_facts.ask(at)})["runs"])


def _covers(one: Episode, at: datetime) -> bool:
    return one.begin <= at and (one.end is None or at < one.end)


def _is_between(one: Episode, at: datetime) -> bool:
    return one.came_back > 0 and _covers(one, at)


def test_late_and_stale_by_the_runs_that_are_kept() -> None:
    """Each 5 minutes; then 40 minutes without, in which one of two instances failed at first."""
    default_schedules()
    now = timezone.now().replace(hour=12, minute=1, second=0, microsecond=0)
    period = _period(now)
    for n in range(1, 30):
        if 3 < n < 13:
            continue
        state = RunState.PARTIAL if n in (20, 21, 22, 27) else RunState.SUCCEEDED
        run = ended_run(state=state, now=now, ago=n * period, seconds=1)
        if state == RunState.PARTIAL:
            run_part(run, "2", state=TargetState.FAILED, error_kind="login" if n == 20 else "query")
            run_part(run, "3", state=TargetState.FAILED, error_kind="timeout")
    late = preview.preview(replace(RULES["late"], hold=timedelta()), now)
    stale = preview.preview(RULES["stale"], now)
    assert late.remark
    shown = [(e.problem.text, e.end is not None) for e in stale.episodes if e.end]
    assert [text for text, _ in shown if "instance" not in text]
    mine = [e for e in late.episodes if e.problem.link.key == "user_routing"]
    assert [("instance 2" in e.problem.text) for e in mine] == [False, True, True]
    assert mine[2].end == now - 26 * period  # before it was stale
    long = mine[0]
    stale_one = next(e for e in stale.episodes if e.problem.link.key == "user_routing")
    assert long.end == stale_one.begin
    assert stale_one.end == now - 3 * period
    assert long.begin > now - 13 * period


def test_it_reaches_back_only_as_far_as_what_failed_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An instance that fails in each of many runs failed in those that nobody looks into, too."""
    monkeypatch.setattr(past, "MOST_PARTIAL", 3)
    now = timezone.now()
    default_schedules()
    ended_run(now=now, ago=10 * HOUR)
    for ago in range(9, 0, -1):
        run = ended_run(state=RunState.PARTIAL, now=now, ago=ago * HOUR)
        run_part(run, "2", state=TargetState.FAILED, error_kind="query")
    found = preview.preview(RULES["failing"], now)
    assert found.since == now - 4 * HOUR
    (one,) = found.episodes
    assert (one.begin, one.end) == (now - 3 * HOUR, None)
    monkeypatch.setattr(past, "MOST_PARTIAL", 9)
    found = preview.preview(RULES["failing"], now)
    assert (found.since, found.episodes[0].begin) == (now - preview.SPAN, now - 9 * HOUR)


def _period(now: datetime) -> timedelta:
    from syncs.engine import registry
    from syncs.schedules import crontab

    return crontab.period(registry.get("user_routing").cron, now)


def test_failing_lasts_until_a_run_that_does_not_fail() -> None:
    now = timezone.now()
    default_schedules()
    for ago, state in (
        *((60, RunState.SUCCEEDED), (50, RunState.FAILED), (40, RunState.LOST)),
        *((30, RunState.SUCCEEDED), (10, RunState.FAILED), (5, RunState.SKIPPED)),
    ):
        ended_run(state=state, now=now, ago=ago * MINUTE)
    found = preview.preview(RULES["failing"], now).episodes
    assert [(_ago(e.begin, now), e.end and _ago(e.end, now)) for e in found] == [
        (10, None),
        (50, 30),
    ]


def test_held_lasts_until_somebody_or_another_run_decides() -> None:
    """A run that is held whole, or for one instance; one that is held again goes on with it."""
    now = timezone.now()
    default_schedules()
    for ago, kind, discarded in (
        *((300, "held", None), (290, "good", None)),
        *((200, "held", None), (190, "failed", None), (180, "part", None), (170, "good", None)),
        *((100, "part", 95), (80, "good", None)),
        (20, "held", None),
    ):
        states = {"held": RunState.HELD, "failed": RunState.FAILED, "good": RunState.SUCCEEDED}
        discarded_at = discarded and now - discarded * MINUTE
        state = states.get(kind, RunState.PARTIAL)
        run = ended_run(state=state, now=now, ago=ago * MINUTE, discarded_at=discarded_at)
        if kind == "part":
            run_part(run, "2", state=TargetState.HELD)
    down = ended_run(state=RunState.PARTIAL, now=now, ago=50 * MINUTE)
    run_part(down, "2", state=TargetState.FAILED, error_kind="query")  # is another rule's
    found = preview.preview(RULES["held"], now).episodes
    assert [(_ago(e.begin, now), e.end and _ago(e.end, now)) for e in found] == [
        *((20, None), (100, 95), (200, 170), (300, 290)),
    ]


def test_support_sessions_are_judged_as_they_were(settings: Any) -> None:
    """At any time, an incident is there exactly if the rule itself finds one then."""
    settings.RAINBO_SUPPORT_HOURS = (frozenset(range(5)), time(8), time(18))
    settings.RAINBO_SUPPORT_TENANTS_PER_HOUR = 3
    now, choose = timezone.now(), random.Random(7)
    for number in range(60):
        at = now - timedelta(minutes=choose.randint(5, 9 * 24 * 60))
        used = choose.choice((at + MINUTE, None))
        refused = at + 2 * MINUTE if used and choose.random() < 0.3 else None
        end = choose.choice((at + 3 * MINUTE, at + 2 * HOUR))
        support_session(
            tenant_id=str(number),
            issued_at=at,
            redeemed_at=used,
            ends_at=used and at + 30 * MINUTE,
            refused=1 if refused else 0,
            refused_at=refused,
            is_forged=choose.random() < 0.2,
            answered_at=end,
            closed_at=end,
        )
    for number in range(5):
        support_session(tenant_id=str(number), issued_at=now - DAY + number * MINUTE)
    SupportSession.objects.filter(closed_at=None).update(closed_at=now - 23 * HOUR)
    rows = list(SupportSession.objects.all())
    for name in ("forged", "reused", "not_ended", "outside_hours", "many_tenants"):
        rule = RULES[f"support_{name}"]
        found = preview.preview(rule, now).episodes
        assert found, name
        times = [now - timedelta(minutes=choose.randint(0, 7 * 24 * 60 - 1)) for _ in range(150)]
        for at in [*times, *(one.begin for one in found)]:
            known = [support._as_of(row, at) for row in rows if row.issued_at <= at]
            judged = support.judge(support._facts(at, known))
            expected = {p.key for p in judged if rules.rule_of(p) == rule.name}
            covering = {e.problem.key for e in found if _covers(e, at)}
            passing = {e.problem.key for e in found if _is_between(e, at)}
            assert expected | passing == covering | passing, (name, at)


def test_certificates_and_tokens_by_their_dates() -> None:
    now = timezone.now()
    instance_row(1, certificate_ends_at=now + 20 * DAY)
    instance_row(2, certificate_ends_at=now + 90 * DAY, ca_ends_at=now + 10 * DAY)
    instance_row(3, certificate_ends_at=now + 22 * DAY)
    tokens.create("ci", ["syncs:read"], "ann", expires_at=now + 12 * DAY)
    found = preview.preview(RULES["certificate_ends"], now)
    assert [(e.problem.link.key, _ago(e.begin, now) // 1440) for e in found.episodes] == [
        ("1", 1),
        ("2", 7),
    ]
    assert preview.preview(replace(RULES["certificate_ends"], threshold=30), now).count == 3
    assert [e.problem.link.kind for e in preview.preview(RULES["token_ends"], now).episodes] == [
        "token"
    ]
    assert preview.preview(replace(RULES["token_ends"], threshold=3), now).count == 0


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_tried_or_says_that_nothing_is_kept(name: str) -> None:
    see(problem())
    found = preview.preview(RULES[name], timezone.now())
    kept = {*OF_RUNS, "late", "stale", "failing", "held", "instance_down", "degraded"}
    kept.add("credentials_refused")
    kept |= {"replica_lag", "certificate_ends", "token_ends"}
    kept |= {one for one in RULES if one.startswith("support_")}
    assert found.is_kept is (name in kept)


def test_a_page_previews_the_form_and_saves_nothing(admin_client: Client) -> None:
    now = timezone.now()
    for ago in (3, 2, 1):
        ended_run(state=RunState.FAILED, now=now, ago=ago * MINUTE)
    row = Rule.objects.get(name="failures_in_a_row")
    url = f"/admin/alerts/rule/{row.pk}/change/"
    given = {"enabled": "on", "level": "1", "hold_seconds": "", "_preview": ""}
    shown = admin_client.post(url, given | {"threshold": "3"}).content.decode()
    assert "<strong>1 incident</strong>" in shown
    assert "The last 3 runs of" in shown
    assert "at least 3 runs" in shown
    shown = admin_client.post(url, given | {"threshold": "4"}).content.decode()
    assert "<strong>0 incidents</strong>" in shown
    shown = admin_client.post(url, given | {"threshold": "101"}).content.decode()
    assert "100 at most" in shown
    assert "Preview of the last 7 days</h2>" not in shown
    row.refresh_from_db()
    assert (row.level, row.threshold) == (None, None)
    del given["_preview"]
    admin_client.post(url, given | {"threshold": "4"})
    row.refresh_from_db()
    assert (row.level, row.threshold) == (Level.URGENT, 4)


def test_what_a_person_may_not_see_is_not_previewed(client: Client) -> None:
    person = staff("ann")
    person.user_permissions.add(
        *Permission.objects.filter(codename__in=("view_rule", "change_rule"))
    )
    client.force_login(person)
    for name in ("instance_down", "slow", "token_ends"):
        url = f"/admin/alerts/rule/{Rule.objects.get(name=name).pk}/change/"
        shown = client.post(url, {"enabled": "on", "_preview": ""}).content.decode()
        assert "You may not see what this rule is about." in shown
    url = f"/admin/alerts/rule/{Rule.objects.get(name='leaver').pk}/change/"
    assert "Nothing is kept" in client.post(url, {"_preview": ""}).content.decode()


def test_the_preview_counts_the_last_100_executions_before_its_window() -> None:
    """A nightly sync fails in a row long before the week begins."""
    now = timezone.now()
    for days in range(40, 8, -1):
        ended_run(state=RunState.FAILED, now=now, ago=days * DAY)
    rule = replace(RULES["failures_in_a_row"], threshold=32)
    (found,) = preview.preview(rule, now).episodes
    assert (found.begin, found.end) == (now - preview.SPAN, None)
    assert preview.preview(replace(rule, threshold=33), now).count == 0
    assert statistics.STREAK > 32
