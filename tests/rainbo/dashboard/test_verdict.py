"""Is anything wrong, and why: the one sentence that the first page begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from common.markup import Tone
from rainbo.dashboard.verdict import Verdict, render
from syncs.status import problems
from syncs.status.freshness import Cause, Freshness, Reason, State
from syncs.status.problems import Facts, Link, Severity
from syncs.status.queries import Status, SyncStatus, TargetStatus
from syncs.status.sync_problems import SYNCS, SyncFacts
from syncs.status.workers import WorkerState
from tenants.ghosts.problems import GHOSTS, GhostFacts, Ghosts
from tenants.health.overview import Down, Fleet, Waiting
from tenants.health.problems import INSTANCES, FleetFacts
from tenants.models import RdsInstance
from tenants.models.instance import Health

NOW = datetime(2026, 11, 22, 13, 45, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WORKING = WorkerState(NOW - MINUTE, None, None, "")
SILENT = WorkerState(NOW - 40 * MINUTE, None, None, "no worker has reported since 13:05")


def target(
    key: str = "1",
    state: State = State.ON_TIME,
    minutes: int | None = 3,
    cause: Cause | None = None,
    words: str = "",
    run: int | None = None,
    weight: int = 0,
) -> TargetStatus:
    age = None if minutes is None else minutes * MINUTE
    late_at = None if age is None else NOW - age + 20 * MINUTE
    reason = Reason(cause, words, run, weight) if cause else None
    judged = Freshness(state, age, late_at, late_at)
    return TargetStatus(
        key, f"instance {key} (rds{key})", None if age is None else NOW - age, judged, reason
    )


def sync(*targets: TargetStatus, title: str = "E-mail routes", **fields: Any) -> SyncStatus:
    known = {
        "name": "user_routing",
        "title": title,
        "state": max(
            (t.freshness.state for t in targets), key=[*State].index, default=State.UNKNOWN
        ),
        "reason": next((t.reason for t in targets if t.reason), None),
        "targets": targets,
        "planned": (),
        "pause": None,
        "next_slot": NOW + 15 * MINUTE,
        "usual_seconds": 11.0,
        "last_run": None,
        "running": None,
    }
    return SyncStatus(**known | fields)


def fleet(*healths: str, down: Sequence[Down] = (), **fields: Any) -> Fleet:
    made = tuple(
        RdsInstance(id=n, name=f"rds{n}", health=health, last_error=fields.get("error", ""))
        for n, health in enumerate(healths or (Health.HEALTHY,) * 3, 1)
    )
    return Fleet(made, tuple(down), {}, all_routes=fields.get("all_routes", 9_400))


def down(pk: int = 2, *, master: bool = False, since: datetime | None = None, **waits: Any) -> Down:
    waiting = Waiting(**{"tenants": 14, "routes": 3_120} | waits)
    return Down(pk, f"instance {pk} (rds{pk})", since, master, waiting)


def verdict(
    *syncs: SyncStatus,
    worker: WorkerState = WORKING,
    of: Fleet | None = None,
    leavers: Ghosts | None = None,
) -> Verdict:
    status = Status(NOW, worker, syncs or (sync(target()),))
    return render(
        Facts(
            {
                SYNCS.name: SyncFacts(status),
                INSTANCES.name: FleetFacts(NOW, of or fleet()),
                GHOSTS.name: GhostFacts(leavers or Ghosts()),
            }
        )
    )


SINCE = NOW - 65 * MINUTE
OVERDUE = "no run has confirmed it since its scheduled time"
STALE = target("1", State.STALE, 40, Cause.OVERDUE, OVERDUE)


def test_all_on_time_tells_every_age() -> None:
    found = verdict(
        sync(target()),
        sync(target("1", minutes=5), target("2", minutes=20), title="Tenant summaries"),
        sync(target(minutes=540), title="Ghost users"),
    )
    assert found == Verdict(
        Tone.GOOD,
        "healthy",
        "All is on time: e-mail routes 3 min, tenant summaries 20 min, ghost users 9 h old.",
    )


def test_services_have_one_age_and_keep_their_names() -> None:
    github = sync(target(minutes=4), title="GitHub", has_schedule=False, noun="connection")
    slack = sync(target(minutes=9), title="Slack", has_schedule=False, noun="connection")
    found = verdict(sync(target()), github, slack)
    assert found.sentence == "All is on time: e-mail routes 3 min, 2 services 9 min old."
    late = replace(github, state=State.STALE, targets=(STALE,))
    assert verdict(sync(target()), late).sentence == f"GitHub is 40 min old: {OVERDUE}."


@pytest.mark.parametrize(
    ("part", "words", "tone"),
    [
        (STALE, f"E-mail routes are 40 min old: {OVERDUE}.", Tone.BAD),
        (
            target("1", State.LATE, 18, Cause.HELD, "run 62 needs review: 25 of 100", 62),
            "E-mail routes are 18 min old: run 62 needs review: 25 of 100.",
            Tone.BAD,
        ),
        (
            target("1", State.STALE, 125, Cause.PAUSED, "until 14:00 UTC: moving rds1"),
            "E-mail routes are 2 h 5 min old: paused until 14:00 UTC: moving rds1.",
            Tone.BAD,
        ),
        (
            target("1", State.STALE, 125, Cause.PAUSED, "its schedule is switched off"),
            "E-mail routes are 2 h 5 min old: paused: its schedule is switched off.",
            Tone.BAD,
        ),
        (
            target("1", State.LATE, 18, Cause.RUNNING_LONG, "in progress for 10 min, usually 11 s"),
            "E-mail routes are 18 min old: in progress for 10 min, usually 11 s.",
            Tone.WARNING,
        ),
        (
            target("1", State.UNKNOWN, None, Cause.NEVER_CONFIRMED, ""),
            "E-mail routes have never been confirmed: the next time is 14:00 UTC.",
            Tone.WARNING,
        ),
        (
            target("1", State.ON_TIME, 3, Cause.HELD, "run 62 needs review: 25 of 100", 62),
            "All is on time, but e-mail routes: run 62 needs review: 25 of 100.",
            Tone.BAD,
        ),
        (
            target("1", State.ON_TIME, 3, Cause.FAILING, "run 63: no instance is the master", 63),
            "All is on time, but e-mail routes: run 63: no instance is the master.",
            Tone.WARNING,
        ),
        (
            target("1", State.ON_TIME, 3, Cause.PAUSED, "until 14:00 UTC: moving rds1"),
            "All is on time, but e-mail routes are paused until 14:00 UTC: moving rds1.",
            Tone.WARNING,
        ),
    ],
)
def test_one_sync_says_its_age_and_its_reason(part: TargetStatus, words: str, tone: Tone) -> None:
    found = verdict(sync(part))
    assert (found.sentence, found.tone, found.others) == (words, tone, ())


def test_a_reason_that_names_a_run_leads_there() -> None:
    part = target("1", State.LATE, 18, Cause.FAILING, "run 63: it broke", 63)
    assert verdict(sync(part)).link == Link("run", "63")
    assert verdict(sync(STALE)).link == Link("sync", "user_routing")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (1, "Tenant summaries of instance 1 (rds1) are 40 min old: "),
        (2, "Tenant summaries of 2 of 3 instances are up to 41 min old: "),
        (3, "Tenant summaries are up to 42 min old: "),
    ],
)
def test_it_says_of_how_many_instances_it_is_true(bad: int, words: str) -> None:
    stale = [target(str(n), State.STALE, 39 + n, Cause.OVERDUE, OVERDUE) for n in range(1, bad + 1)]
    fresh = [target(str(n)) for n in range(bad + 1, 4)]
    assert verdict(sync(*stale, *fresh, title="Tenant summaries")).sentence.startswith(words)


@pytest.mark.parametrize(
    ("worker", "syncs", "words"),
    [
        (
            SILENT,
            [sync(target("1", State.STALE, 40, Cause.NO_HEARTBEAT, "it came 40 min ago"))],
            "E-mail routes are 40 min old: no heartbeat of a worker since 13:05 UTC.",
        ),
        (
            SILENT,
            [sync(target())],
            (
                "No heartbeat of a worker since 13:05 UTC: nothing is late yet, e-mail routes "
                "will be at 14:02 UTC."
            ),
        ),
        (
            WorkerState(NOW - timedelta(days=2), None, None, "no worker has reported"),
            [sync(STALE)],
            "E-mail routes are 40 min old: no heartbeat of a worker since 2026-11-20 13:45 UTC.",
        ),
        (
            WorkerState(None, None, None, "no worker has ever reported: start it"),
            [sync(target("1", State.UNKNOWN, None, Cause.NEVER_CONFIRMED, "no run"))],
            "E-mail routes have never been confirmed: no worker has ever reported.",
        ),
        (
            WorkerState(NOW, NOW - 7 * MINUTE, None, "the oldest queued item has waited for 7 min"),
            [sync(STALE)],
            "E-mail routes are 40 min old: the oldest queued item has waited for 7 min.",
        ),
    ],
)
def test_workers_come_first(worker: WorkerState, syncs: list[SyncStatus], words: str) -> None:
    waiting = fleet(Health.DOWN, Health.HEALTHY, Health.HEALTHY, down=[down(1, since=SINCE)])
    found = verdict(*syncs, worker=worker, of=waiting)
    assert (found.sentence, found.link) == (words, Link("worker"))
    assert "instance 1 (rds1) has been down" in found.others[0].text


def test_a_worker_that_is_busy_is_not_silent() -> None:
    busy = WorkerState(NOW - 40 * MINUTE, None, 812, "")
    assert verdict(worker=busy).tone is Tone.GOOD


def test_a_silent_worker_is_named_once() -> None:
    silent = [target(str(n), State.STALE, 40, Cause.NO_HEARTBEAT, "no sign") for n in (1, 2)]
    found = verdict(sync(*silent), sync(*silent, title="Ghost users"), worker=SILENT)
    assert found.others == ()


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (
            [down(since=SINCE)],
            (
                "Instance 2 (rds2) has been down since 12:40 UTC: 14 tenants and 3,120 routes wait "
                "for it."
            ),
        ),
        (
            [down(tenants=1, routes=1)],
            "Instance 2 (rds2) is down and has never answered: 1 tenant and 1 route wait for it.",
        ),
        (
            [down(since=SINCE, tenants=None, routes=20_000, more_routes=True)],
            (
                "Instance 2 (rds2) has been down since 12:40 UTC: an unknown number of tenants and "
                "more than 20,000 routes wait for it."
            ),
        ),
        (
            [down(1, master=True, since=SINCE)],
            (
                "Instance 1 (rds1), the master, has been down since 12:40 UTC: 14 tenants and all "
                "9,400 routes wait for it."
            ),
        ),
        (
            [down(2, since=NOW - MINUTE), down(3, since=SINCE)],
            (
                "2 of 3 instances are down, the first since 12:40 UTC: 28 tenants and 6,240 routes "
                "wait for them (instance 2 (rds2), instance 3 (rds3))."
            ),
        ),
        (
            [down(1, master=True), down(2), down(3, since=SINCE)],
            (
                "None of the 3 instances answers, the last went down at 12:40 UTC: 42 tenants "
                "and all 9,400 routes wait for them."
            ),
        ),
    ],
)
def test_an_instance_that_is_down_says_what_it_holds_up(lost: list[Down], words: str) -> None:
    late = target("1", State.STALE, 40, Cause.HELD, "run 62 needs review", 62)
    assert verdict(sync(late), of=fleet(down=lost)).sentence == words


def test_a_master_that_is_down_comes_before_others() -> None:
    found = verdict(of=fleet(down=[down(2), down(1, master=True)]))
    assert "the master" in found.sentence
    assert found.others[0].text.startswith("instance 2 (rds2) is down")


@pytest.mark.parametrize("cause", [Cause.INSTANCE_DOWN, Cause.OVERDUE])
def test_what_a_down_instance_keeps_from_syncs_is_not_said_again(cause: Cause) -> None:
    part = target("2", State.STALE, 90, cause, "refused")
    found = verdict(sync(target(), part), of=fleet(down=[down(2, since=SINCE)]))
    assert found.others == ()
    assert "refused" in verdict(sync(target(), part)).sentence  # it is up again, the sync is late


@pytest.mark.parametrize("state", [State.ON_TIME, State.LATE])
def test_of_two_held_runs_the_one_that_takes_more_comes_first(state: State) -> None:
    renamed = target("1", state, 18, Cause.HELD, "run 61 needs review: 9 renamed", 61)
    removed = target("1", state, 18, Cause.HELD, "run 62 needs review: 3,086 go", 62, 3_086)
    found = verdict(sync(renamed, title="Tenant summaries"), sync(removed))
    assert found.link == Link("run", "62")
    assert found.others[0].link == Link("run", "61")


def test_what_is_held_comes_before_what_is_stale() -> None:
    """And nothing is then said to be on time."""
    held = sync(target("1", cause=Cause.HELD, words="run 62 waits"), title="Tenant summaries")
    found = verdict(sync(STALE), held)
    assert found.sentence == "Tenant summaries: run 62 waits."
    assert [other.severity for other in found.others] == [Severity.STALE]


def test_of_two_causes_the_graver_comes_first() -> None:
    held = target("1", State.STALE, 40, Cause.HELD, "run 62 waits", 62)
    failing = target("2", State.STALE, 40, Cause.FAILING, "run 63 broke", 63)
    found = verdict(sync(failing, held, target("3")))
    assert "run 62 waits" in found.sentence
    assert len(found.others) == 1


def test_a_degraded_instance_is_named_after_what_is_late() -> None:
    slow = fleet(Health.HEALTHY, Health.DEGRADED, error="it takes 1,200 ms to answer")
    assert verdict(of=slow).sentence == (
        "All is on time, but instance 2 (rds2) is degraded: it takes 1,200 ms to answer."
    )
    assert verdict(sync(STALE), of=slow).sentence.startswith("E-mail routes are 40 min old")


def test_a_sync_that_no_instance_takes_part_in_says_so() -> None:
    reason = Reason(Cause.NEVER_CONFIRMED, "no instance takes part in it")
    found = verdict(sync(reason=reason))
    assert found.sentence == "E-mail routes can't be read: no active instance takes part."


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (Fleet(), "No instance is registered yet: there is nothing to read."),
        (
            Fleet((RdsInstance(id=1, name="rds1", is_active=False),)),
            "The one instance is not active: nothing is read.",
        ),
    ],
)
def test_an_empty_fleet_is_no_alarm(of: Fleet, words: str) -> None:
    found = verdict(sync(reason=Reason(Cause.NEVER_CONFIRMED, "")), of=of, worker=SILENT)
    assert (found.sentence, found.tone) == (words, Tone.QUIET)


def test_who_sees_instances_alone_is_told_of_them_alone() -> None:
    assert (
        render(Facts({INSTANCES.name: FleetFacts(NOW, fleet())})).sentence
        == "All 3 instances answer."
    )
    lost = render(Facts({INSTANCES.name: FleetFacts(NOW, fleet(down=[down()]))}))
    assert lost.sentence.startswith("Instance 2 (rds2) is down")


def test_who_sees_runs_alone_is_told_of_them_alone() -> None:
    status = Status(NOW, WORKING, (sync(STALE),))
    found = render(Facts({SYNCS.name: SyncFacts(status)}))
    assert found.sentence.startswith("E-mail routes are 40 min old")


def test_a_long_error_is_cut() -> None:
    found = verdict(sync(target("1", State.STALE, 40, Cause.FAILING, "x" * 5_000)))
    assert len(found.sentence) < 260
    assert found.sentence.endswith("….")


def test_times_are_in_the_viewers_zone() -> None:
    with timezone.override(ZoneInfo("Europe/Berlin")):
        found = verdict(of=fleet(down=[down(since=SINCE)]))
    assert "since 13:40 CET" in found.sentence


def test_a_leaver_who_can_still_enter_comes_before_everything() -> None:
    left = Ghosts(3, frozenset({4, 7}))
    found = verdict(worker=SILENT, of=fleet(down=[down()]), leavers=left)
    assert found.sentence == "3 ghost users of people who left can still enter 2 instances."
    assert (found.tone, found.link) == (Tone.BAD, Link("ghosts"))
    assert [p.severity for p in found.others] == [Severity.WORKERS_DEAD, Severity.INSTANCE_DOWN]


def test_more_leavers_than_are_counted_are_said_to_be_more() -> None:
    found = verdict(leavers=Ghosts(1_001, frozenset(range(1, 201))))
    assert found.sentence == (
        "More than 1,000 ghost users of people who left can still enter more than 200 instances."
    )


def test_refused_credentials_are_the_cause_and_not_each_sync() -> None:
    refusing = replace(down(since=SINCE), refuses=True)
    why = Reason(Cause.FAILING, "it refused the login", 63, error_kind="login")
    failing = target("2", State.STALE, 90)._replace(reason=why)
    found = verdict(sync(target(), failing), of=fleet(down=[refusing]))
    assert found.sentence == (
        "Instance 2 (rds2) is up and refuses RAINBO's credentials, nothing has been read since "
        "12:40 UTC: 14 tenants and 3,120 routes wait for it."
    )
    assert found.others == ()


def test_another_failure_of_an_instance_that_is_down_is_named_too() -> None:
    failing = target("2", State.STALE, 90, Cause.FAILING, "a privilege is missing", 63)
    found = verdict(sync(target(), failing), of=fleet(down=[down(since=SINCE)]))
    assert [other.cause for other in found.others] == ["failing"]


def test_the_order_of_severity_is_the_designs() -> None:
    """A cause that is less severe than what readers see does not hide it, nor the other way."""
    of_cause = {
        Cause.HELD: Severity.HELD,
        Cause.FAILING: Severity.FAILING,
        Cause.RUNNING_LONG: Severity.LATE,
        Cause.PAUSED: Severity.PAUSED,
        Cause.NEVER_CONFIRMED: Severity.UNKNOWN,
    }
    syncs = [sync(target(cause=cause, words="x"), name=cause.name.lower()) for cause in of_cause]
    stale = sync(target("1", State.STALE, 90, Cause.PAUSED, "until 14:00 UTC"), name="stale")
    late = sync(target("1", State.LATE, 18, Cause.PAUSED, "until 14:00 UTC"), name="late")
    facts = SyncFacts(Status(NOW, WORKING, (*syncs, late, stale)))
    found = problems.judge(Facts({SYNCS.name: facts}))
    assert [(p.key.split("/")[1], p.severity) for p in found] == [
        ("held", Severity.HELD),
        ("stale", Severity.STALE),
        ("failing", Severity.FAILING),
        ("late", Severity.LATE),
        ("running_long", Severity.LATE),
        ("paused", Severity.PAUSED),
        ("never_confirmed", Severity.UNKNOWN),
    ]
