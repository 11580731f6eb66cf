"""What waits is gathered and sent: once if all goes well, at least once whatever happens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, time
from typing import Any

import pytest
from django.db import connection

from alerts import actions, channel_problems, outbox
from alerts.channel_problems import CHANNELS
from alerts.channels import registry
from alerts.channels.result import Result
from alerts.models import (
    GIVES_UP_AFTER,
    Channel,
    Delivery,
    Incident,
    IncidentEvent,
    Level,
    Mute,
    Notice,
)
from alerts.quiet_hours import is_quiet
from syncs.status.problems import Severity
from tests.alerts.rows import HOUR, MINUTE, NOW, SECOND, channel, problem, see

pytestmark = pytest.mark.django_db
URGENT = problem()
QUIET = problem("instance/2/degraded", Severity.DEGRADED)
ACCEPTED, REFUSED = Result(True, "answered 200"), Result(False, "answered 500: no")


def send(at: datetime, result: Result = ACCEPTED) -> list[str]:
    """Gather, and settle each delivery that is due with this result. Returns their titles."""
    outbox.gather(at)
    titles = []
    while delivery := outbox.claim(at):
        titles.append(delivery.content["title"])
        outbox.settle(delivery, result, at)
    return titles


def test_an_urgent_message_goes_at_once_and_takes_along_what_waits() -> None:
    channel()
    see(QUIET)
    assert send(NOW + SECOND) == []
    see(QUIET, URGENT, at=NOW + 2 * SECOND)
    # the degraded instance is explained by its being down, but was noticed before
    assert send(NOW + 2 * SECOND) == ["RAINBO: 2 problems, 1 urgent"]


@pytest.mark.parametrize(("seconds", "goes"), [(29, False), (30, True), (31, True)])
def test_others_wait_for_their_group(seconds: int, goes: bool) -> None:
    channel()
    see(QUIET)
    assert bool(send(NOW + seconds * SECOND)) is goes


@pytest.mark.parametrize(("seconds", "goes"), [(299, False), (300, True), (301, True)])
def test_after_a_message_others_wait_for_five_minutes(seconds: int, goes: bool) -> None:
    channel()
    see(URGENT)
    send(NOW)
    other = problem("instance/3/degraded", Severity.DEGRADED, ("3",))
    see(URGENT, other, at=NOW + SECOND)
    assert bool(send(NOW + seconds * SECOND)) is goes


def test_a_storm_is_one_message() -> None:
    channel(), channel("other")
    down = [problem(f"instance/{n}/down", affected=(str(n),)) for n in range(200)]
    see(*down)
    assert send(NOW) == ["RAINBO: 200 problems, 200 urgent"] * 2
    see(at=NOW + MINUTE)
    assert send(NOW + 6 * MINUTE) == ["RAINBO: 200 resolved"] * 2


def test_nothing_passes_the_cap_of_an_hour_and_nothing_is_lost_by_it() -> None:
    channel(per_hour=3)
    sent = []
    for n in range(6):
        see(
            *(problem(f"instance/{m}/down", affected=(str(m),)) for m in range(n + 1)),
            at=NOW + n * MINUTE,
        )
        sent.append(len(send(NOW + n * MINUTE)))
    assert sent == [1, 1, 1, 0, 0, 0]
    assert send(NOW + HOUR) == ["RAINBO: 3 problems, 3 urgent"]


@pytest.mark.parametrize(
    ("at", "quiet"),
    [("19:59", False), ("20:00", True), ("23:59", True), ("05:59", True), ("06:00", False)],
)
def test_quiet_hours_over_midnight(at: str, quiet: bool) -> None:
    now = datetime.fromisoformat(f"2026-07-01T{at}:00+00:00")
    assert is_quiet(now, time(22), time(8), "Europe/Berlin") is quiet


@pytest.mark.parametrize(("hour", "quiet"), [(11, False), (12, True), (13, False)])
def test_quiet_hours_within_a_day(hour: int, quiet: bool) -> None:
    assert is_quiet(NOW.replace(hour=hour), time(12), time(13), "UTC") is quiet


@pytest.mark.parametrize("ends", [(None, None), (time(1), None), (None, time(1)), (time(1),) * 2])
def test_no_quiet_hours(ends: tuple[time | None, time | None]) -> None:
    assert not is_quiet(NOW.replace(hour=1), *ends, "UTC")


def test_in_quiet_hours_only_urgent_ones_pass_and_in_the_morning_comes_what_is_still_open() -> None:
    channel(quiet_from=time(11), quiet_to=time(14))
    gone = problem("instance/3/degraded", Severity.DEGRADED, ("3",))
    stays = problem("instance/4/degraded", Severity.DEGRADED, ("4",))
    see(gone, stays, URGENT)
    assert send(NOW) == ["RAINBO: An instance is down"]
    see(stays, at=NOW + HOUR)
    assert send(NOW + HOUR + MINUTE) == ["RAINBO: An instance is down (resolved)"]
    assert send(NOW + 2 * HOUR) == ["RAINBO: An instance is degraded"]


def test_the_back_off_grows_and_ends_after_two_days() -> None:
    channel()
    see(URGENT)
    at, waits = NOW, []
    while send(at, REFUSED):
        row = Delivery.objects.get()
        if row.given_up_at:
            break
        waits.append((row.not_before - at) // MINUTE)
        assert outbox.claim(row.not_before - SECOND) is None
        at = row.not_before
    assert waits[:6] == [1, 5, 15, 60, 240, 240]
    assert GIVES_UP_AFTER - 4 * HOUR < at - NOW <= GIVES_UP_AFTER
    assert row.error == REFUSED.detail


def test_a_wait_that_the_other_side_asks_for_is_kept() -> None:
    channel()
    see(URGENT)
    send(NOW, Result(False, "answered 429", retry_after=10 * MINUTE))
    assert Delivery.objects.get().not_before == NOW + 10 * MINUTE
    send(NOW + 10 * MINUTE, Result(False, "answered 429", retry_after=90 * 24 * HOUR))
    assert Delivery.objects.get().not_before == NOW + 10 * MINUTE + 4 * HOUR


def test_a_channel_that_is_gone_is_tried_no_longer() -> None:
    row = channel()
    see(URGENT)
    send(NOW, Result(False, "answered 410", is_gone=True))
    row.refresh_from_db()
    assert (row.gone_at, row.failing_since, row.is_usable) == (NOW, NOW, False)
    assert Delivery.objects.get().given_up_at == NOW
    see(URGENT, problem("workers", Severity.WORKERS_DEAD, ()), at=NOW + MINUTE)
    assert send(NOW + MINUTE) == []


BAD = Result(False, "answered 400: no_text", is_refused=True)


def test_a_message_that_is_refused_for_itself_keeps_no_other_back() -> None:
    """It is tried twice, and stays with the reason; its end is not sent, as it never arrived."""
    row = channel()
    see(URGENT)
    assert send(NOW, BAD) == ["RAINBO: An instance is down"]
    other = problem("instance/3/down", affected=("3",))
    see(URGENT, other, at=NOW + SECOND)
    assert send(NOW + SECOND, BAD) == ["RAINBO: An instance is down"]
    refused = Delivery.objects.get()
    assert (refused.given_up_at, refused.error) == (NOW + SECOND, BAD.detail)
    assert send(NOW + 2 * SECOND) == ["RAINBO: An instance is down"]
    (item,) = Delivery.objects.get(sent_at=NOW + 2 * SECOND).content["incidents"]
    assert item["key"] == other.key
    assert _problem_of(row, NOW + MINUTE) == (
        "channel ops did not take 1 message in the last day: answered 400: no_text"
    )
    assert _problem_of(row, NOW + 24 * HOUR) is not None
    assert _problem_of(row, NOW + 24 * HOUR + SECOND) is None
    first = Incident.objects.get(key=URGENT.key)
    assert "opened, not taken by ops" in first.events.values_list("text", flat=True)
    see(at=NOW + 20 * MINUTE)
    send(NOW + 30 * MINUTE)
    ends = Delivery.objects.latest("created_at").content["incidents"]
    assert [item["key"] for item in ends] == [other.key]


def test_a_channel_that_refuses_every_message_is_failing_and_loses_each_alone() -> None:
    row = channel()
    see(URGENT)
    for minutes in (0, 1):
        assert send(NOW + minutes * MINUTE, BAD)
    see(URGENT, problem("instance/3/down", affected=("3",)), at=NOW + HOUR)
    for minutes in (0, 1):
        assert send(NOW + HOUR + minutes * MINUTE, BAD)
    assert Delivery.objects.filter(given_up_at=None).count() == 0
    words = _problem_of(row, NOW + 2 * HOUR)
    assert words is not None
    assert words.startswith("channel ops has been failing since ")


@pytest.mark.parametrize("arrived", [False, True])
def test_an_end_that_waits_behind_its_refused_beginning_is_not_sent(arrived: bool) -> None:
    """Found by history 24. arrived: the beginning did, and a reminder is refused."""
    channel()
    see(URGENT)
    at = NOW
    if arrived:
        send(at)
        at += 5 * HOUR
        see(URGENT, at=at)
    assert send(at, BAD)
    see(at=at + SECOND)
    assert send(at + MINUTE, BAD)
    ends = ["RAINBO: An instance is down (resolved)"]
    assert send(at + 10 * MINUTE) == (ends if arrived else [])


def test_what_may_have_arrived_before_it_was_refused_gets_its_end() -> None:
    channel()
    see(URGENT)
    outbox.gather(NOW)
    assert outbox.claim(NOW), "and then the process dies"
    assert send(NOW + 2 * MINUTE, BAD)
    assert Delivery.objects.get().given_up_at, "the second attempt"
    see(at=NOW + 3 * MINUTE)
    assert send(NOW + 10 * MINUTE) == ["RAINBO: An instance is down (resolved)"]


def _problem_of(row: Channel, now: datetime) -> str | None:
    judged = channel_problems.judge(CHANNELS.read_alone(now))
    return next((p.text for p in judged if p.key == f"channel/{row.pk}"), None)


def test_a_failing_channel_delays_no_other() -> None:
    broken, _ = channel("a broken one"), channel("b")
    for n in range(3):
        at = NOW - n * SECOND
        content: dict[str, Any] = {"incidents": []}
        Delivery.objects.create(channel=broken, content=content, created_at=at, not_before=at)
    first = outbox.claim(NOW)
    assert first is not None
    outbox.settle(first, REFUSED, NOW)
    assert first.created_at == NOW - 2 * SECOND
    assert outbox.claim(NOW) is None, "its others come after it"
    see(URGENT, at=NOW + MINUTE)
    outbox.gather(NOW + MINUTE)
    following = outbox.claim(NOW + MINUTE)
    assert following is not None
    assert following.channel.name == "b"


def test_an_end_never_overtakes_its_beginning() -> None:
    """Though the beginning was refused, and waits longer than the end."""
    channel()
    see(URGENT)
    for minutes in (0, 1, 6):
        assert len(send(NOW + minutes * MINUTE, REFUSED)) == 1
    see(at=NOW + 7 * MINUTE)
    assert send(NOW + 13 * MINUTE) == []
    assert Delivery.objects.count() == 1
    assert send(NOW + 21 * MINUTE) == ["RAINBO: An instance is down"]
    assert send(NOW + 22 * MINUTE) == ["RAINBO: An instance is down (resolved)"]


def test_an_urgent_message_tries_again_what_was_put_off() -> None:
    """Once: what waits behind a refused message must not try it each minute."""
    channel()
    see(URGENT)
    at = NOW
    for _ in range(5):
        send(at, REFUSED)
        at = Delivery.objects.get().not_before
    other = problem("instance/3/down", affected=("3",))
    early = at - 3 * HOUR
    see(URGENT, other, at=early)
    assert len(send(early, REFUSED)) == 1
    assert send(early + MINUTE) == []
    third = problem("instance/4/down", affected=("4",))
    see(URGENT, other, third, at=early + 2 * MINUTE)
    assert send(early + 2 * MINUTE) == ["RAINBO: An instance is down"]
    assert send(early + 3 * MINUTE) == ["RAINBO: 2 problems, 2 urgent"]


def test_an_outage_of_a_channel_ends_with_two_messages() -> None:
    """Not with all that happened in it, which would break the cap and be old news."""
    channel()
    see(URGENT)
    at, refused = NOW, 0
    stays = problem("instance/9/down", affected=("9",))
    for n in range(40):  # every 30 min another instance is down, and the one before is up again
        at = NOW + n * HOUR / 2
        passing = problem(f"instance/{10 + n}/down", affected=(str(10 + n),))
        see(stays, passing, at=at)
        refused += len(send(at, REFUSED))
    assert refused >= 5
    assert Delivery.objects.count() == 1
    head = Delivery.objects.get()
    assert send(head.not_before) == [head.content["title"]]
    see(stays, at=head.not_before + MINUTE)
    (title,) = send(head.not_before + MINUTE)
    assert "resolved" in title
    assert send(head.not_before + 2 * HOUR) == []


@pytest.mark.parametrize("fault", [ValueError("x"), UnicodeEncodeError("ascii", "é", 0, 1, "x")])
def test_a_fault_in_sending_one_message_stops_no_other(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = []

    def deliver(row: Channel, *_: Any) -> Result:
        if row.name == "a":
            raise fault
        arrived.append(row.name)
        return ACCEPTED

    kinds = {**registry.KINDS, "slack": replace(registry.KINDS["slack"], send=deliver)}
    monkeypatch.setattr(registry, "KINDS", kinds)
    broken, _ = channel("a"), channel("b")
    see(URGENT)
    assert outbox.flush() == outbox.Flush(sent=1, failed=1)
    broken.refresh_from_db()
    assert type(fault).__name__ in broken.last_error
    assert broken.failing_since
    assert arrived == ["b"]


def test_a_message_that_can_not_be_made_stops_no_other() -> None:
    """The system no longer knows a channel's time zone."""
    broken = channel("a", quiet_from=time(1), quiet_to=time(2), zone="Nowhere/Gone")
    channel("b")
    see(URGENT)
    assert send(NOW) == ["RAINBO: An instance is down"]
    broken.refresh_from_db()
    assert broken.last_error == "its messages can't be made: ZoneInfoNotFoundError"
    Channel.objects.filter(pk=broken.pk).update(zone="UTC")
    assert send(NOW + MINUTE) == ["RAINBO: An instance is down"]


@pytest.mark.parametrize("state", ["claimed", "postponed", "sent lately"])
def test_a_clock_that_is_set_back_keeps_no_message_back(state: str) -> None:
    channel()
    later = NOW + 24 * HOUR
    see(QUIET, at=later)
    outbox.gather(later + MINUTE)
    if state == "claimed":
        assert outbox.claim(later + MINUTE)
    else:
        send(later + MINUTE, REFUSED if state == "postponed" else ACCEPTED)
    if state == "sent lately":
        other = problem("instance/3/degraded", Severity.DEGRADED, ("3",))
        see(QUIET, other, at=NOW)
        assert send(NOW + MINUTE) == ["RAINBO: 2 problems"], "with a reminder of the first"
    else:
        assert send(NOW) == ["RAINBO: An instance is degraded"]


def test_what_arrives_ends_the_failing() -> None:
    row = channel()
    see(URGENT)
    send(NOW, REFUSED)
    row.refresh_from_db()
    assert (row.failing_since, row.last_error) == (NOW, REFUSED.detail)
    send(NOW + MINUTE)
    row.refresh_from_db()
    assert (row.failing_since, row.last_error, row.last_sent_at) == (None, "", NOW + MINUTE)
    assert IncidentEvent.objects.get(kind="sent").text == "opened, to ops"


def test_a_claim_that_runs_out_is_sent_again_with_the_same_id_and_content() -> None:
    """As after a kill between sending and storing it."""
    channel()
    see(URGENT)
    outbox.gather(NOW)
    first = outbox.claim(NOW)
    assert first is not None
    assert outbox.claim(NOW + outbox.CLAIM - SECOND) is None
    again = outbox.claim(NOW + outbox.CLAIM)
    assert again is not None
    assert (again.pk, again.content, again.attempts) == (first.pk, first.content, 2)
    outbox.settle(first, REFUSED, NOW + outbox.CLAIM)  # the first one was only slow
    outbox.settle(again, ACCEPTED, NOW + outbox.CLAIM)
    assert Delivery.objects.get().sent_at == NOW + outbox.CLAIM


def test_what_is_muted_before_it_is_sent_is_not_sent() -> None:
    channel()
    see(URGENT)
    actions.mute(Incident.objects.get().pk, "ann", _later(), "moving")
    assert send(NOW) == []
    assert Notice.objects.get().dropped_at


def test_what_is_muted_while_its_message_waits_is_left_out_of_it() -> None:
    channel()
    other = problem("instance/3/down", affected=("3",))
    see(URGENT, other)
    outbox.gather(NOW)
    Mute.objects.create(key=URGENT.key, until=NOW + HOUR, reason="moving", by="ann")
    delivery = outbox.claim(NOW)
    assert delivery is not None
    assert [item["key"] for item in delivery.content["incidents"]] == [other.key]
    outbox.settle(delivery, REFUSED, NOW)
    Mute.objects.create(key=other.key, until=NOW + HOUR, reason="moving", by="ann")
    assert outbox.claim(NOW + MINUTE) is None
    assert Delivery.objects.get().given_up_at


def test_the_end_of_what_was_muted_before_it_arrived_is_not_sent() -> None:
    channel()
    see(URGENT)
    outbox.gather(NOW)
    Mute.objects.create(key=URGENT.key, until=NOW + MINUTE, reason="moving", by="ann")
    assert send(NOW) == []
    see(at=NOW + 2 * MINUTE)
    assert send(NOW + 10 * MINUTE) == []


@pytest.mark.parametrize("dies", [False, True])
def test_the_end_of_what_was_refused_and_then_muted_is_not_sent(dies: bool) -> None:
    """Found by history 154. A process that died may have sent it: then its end is sent."""
    channel()
    see(URGENT)
    outbox.gather(NOW)
    if dies:
        assert outbox.claim(NOW)
    assert send(NOW + 2 * MINUTE, REFUSED) == ["RAINBO: An instance is down"]
    until = NOW + 10 * MINUTE
    Mute.objects.create(key=URGENT.key, until=until, reason="moving", by="ann")
    assert send(NOW + 8 * MINUTE) == []
    assert Delivery.objects.get().given_up_at
    see(URGENT, at=NOW + 9 * MINUTE)
    see(at=until)
    assert bool(send(until + 10 * MINUTE)) is dies


def test_a_disabled_channel_gets_nothing_not_even_what_waits() -> None:
    row = channel()
    see(URGENT)
    Channel.objects.filter(pk=row.pk).update(enabled=False)
    assert send(NOW) == []
    Channel.objects.filter(pk=row.pk).update(enabled=True)
    assert send(NOW) == []


@pytest.mark.django_db(transaction=True)
def test_of_several_processes_each_message_is_sent_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [channel(f"channel {n}", level=Level.URGENT) for n in range(6)]
    see(URGENT)
    sent: list[Any] = []

    def deliver(row: Channel, *_: Any) -> Result:
        sent.append(row.pk)
        return ACCEPTED

    monkeypatch.setattr(registry, "send", deliver)

    def process(_: int) -> int:
        try:
            return outbox.flush().sent
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(process, range(4))) + outbox.flush().sent == len(rows)
    assert sorted(sent) == sorted(row.pk for row in rows)


def _later() -> datetime:
    from django.utils import timezone

    return timezone.now() + HOUR
