"""Until when certificates are valid: read from real servers, at most once a day."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from syncs.models import Trigger
from tenants.fleet import certificates
from tenants.fleet.certificates import Certificates
from tenants.health import certificate_problems, problems
from tenants.health.overview import Fleet
from tenants.health.problems import FleetFacts
from tenants.models import RdsInstance
from tests.caches import register, run_sync
from tests.certificates import Authority
from tests.instances import Instance, InstanceFleet
from tests.rows import instance_row

DAY = timedelta(days=1)
OURS, OTHER = Authority.make(), Authority.make("Other CA")
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def secure(older: Instance, transactional_db: None) -> Instance:
    older.offer_tls(*OURS.server("localhost"))
    return older


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], int]]:
    """A server that answers these bytes to whoever connects, and closes; returns its port."""
    listeners: list[socket.socket] = []

    def serve(listener: socket.socket, answer: bytes) -> None:
        try:
            while True:
                line, _ = listener.accept()
                with line:
                    line.recv(8)
                    line.sendall(answer)
        except OSError:
            return

    def make(answer: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, answer), daemon=True).start()
        return int(listener.getsockname()[1])

    yield make
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_health_check_reads_them_once_a_day(secure: Instance) -> None:
    """And again if a person asks, or the address or CA was changed."""
    row = register(secure, ssl_mode="verify-full", ssl_ca=OURS.pem + OTHER.pem, host="localhost")

    def read(trigger: Trigger = Trigger.SCHEDULE, **before: object) -> datetime | None:
        RdsInstance.objects.filter(pk=row.pk).update(**before)
        run_sync("instance_health", trigger=trigger)
        row.refresh_from_db()
        return row.certificate_ends_at

    ends_at = read()
    assert ends_at is not None
    assert timedelta(hours=23) < ends_at - timezone.now() < timedelta(hours=25)
    assert row.ca_ends_at == OURS.certificate.not_valid_after_utc
    old, now = ends_at - 9 * DAY, timezone.now()
    assert read(certificate_ends_at=old, certificate_read_at=now - 0.9 * DAY) == old
    assert read(Trigger.COMMAND, certificate_ends_at=old) == ends_at
    assert read(certificate_ends_at=old, certificate_read_at=now - 1.1 * DAY) == ends_at
    assert read(certificate_ends_at=old, certificate_of="another") == ends_at


def test_a_server_without_tls_has_none(registered: InstanceFleet) -> None:
    run_sync("instance_health")
    row = RdsInstance.objects.get(pk=1)
    assert (row.certificate_ends_at, row.ca_ends_at) == (None, None)
    assert row.certificate_read_at is not None


@pytest.mark.parametrize("answer", [b"", b"H", b"S", b"S" + b"\x15\x03\x03\x00\x02\x02\x28"])
def test_what_does_not_answer_as_a_server_is_left_out(
    answering: Callable[[bytes], int], transactional_db: None, answer: bytes
) -> None:
    row = RdsInstance(pk=9, name="x", host="127.0.0.1", port=answering(answer))
    assert certificates.read_all([row]) == {}


@pytest.mark.parametrize("fields", [{"ssl_mode": "disable"}, {"host": "/run/postgresql"}])
def test_where_there_is_no_tls_nobody_is_asked(fields: dict[str, str]) -> None:
    known = {"host": "nowhere.invalid", "ssl_mode": "require"} | fields
    assert certificates.read(RdsInstance(pk=9, **known)) == Certificates(None, None)


def test_a_new_read_that_fails_keeps_what_was_read_of_the_same_address(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "read_all", lambda _: {})
    rows = RdsInstance.objects.filter(pk=1)
    for of, kept in (("another", None), (certificates.digest(rows.get()), NOW)):
        rows.update(certificate_ends_at=NOW, certificate_of=of, certificate_read_at=None)
        run_sync("instance_health", trigger=Trigger.SCHEDULE)
        row = rows.get()
        assert row.certificate_ends_at == kept
        assert not certificates.is_due(row, timezone.now())


def of(**days: float) -> RdsInstance:
    fields = {name: NOW + left * DAY for name, left in days.items()}
    return RdsInstance(pk=days.pop("pk", 3), name="rds3", **fields)


@pytest.mark.parametrize(
    ("days", "left", "words"),
    [
        ({"certificate_ends_at": 20}, 20, "the TLS certificate of instance 3 (rds3) ends on"),
        ({"certificate_ends_at": 20, "ca_ends_at": 5}, 5, "the CA certificate of"),
        ({"certificate_ends_at": -1}, -1, "ended on 2026-06-30 at 12:00 UTC"),
    ],
)
def test_the_first_to_end_counts(days: dict[str, float], left: float, words: str) -> None:
    (found,) = certificate_problems.of_instance(of(**days), NOW)
    assert found.measure == left
    assert words in found.text


@pytest.mark.parametrize(("left", "named"), [(20.9, True), (21, True), (21.1, False)])
def test_the_first_page_names_what_ends_within_three_weeks(left: float, named: bool) -> None:
    fleet = Fleet(instances=(of(certificate_ends_at=left),))
    found = list(problems.judge(FleetFacts(NOW, fleet)))
    assert [problem.key for problem in found] == (["instance/3/certificate"] if named else [])
    assert [p.measure for p in problems.watch(FleetFacts(NOW, fleet))] == [left]


def test_many_that_end_soon_are_one_problem_of_several_parts() -> None:
    rows = [RdsInstance(pk=n, name=f"rds{n}", ca_ends_at=NOW + (20 - n) * DAY) for n in range(1, 4)]
    (found,) = problems.judge(FleetFacts(NOW, Fleet(instances=tuple(rows))))
    assert "3 instances end soon" in found.text
    assert "first, the CA certificate of instance 3" in found.text
    assert [part.key for part in found.parts] == [f"instance/{n}/certificate" for n in (3, 2, 1)]


@pytest.mark.django_db
def test_a_replica_that_lags_is_watched_unless_it_is_down() -> None:
    rows = [
        instance_row(1, is_replica=True, replica_lag_s=7.5, health="healthy"),
        instance_row(2, is_replica=True, replica_lag_s=None, health="healthy"),
        instance_row(3, is_replica=False, replica_lag_s=None, health="healthy"),
        instance_row(4, is_replica=True, replica_lag_s=99, health="down"),
    ]
    found = list(problems.watch(FleetFacts(NOW, Fleet(instances=tuple(rows)))))
    assert [(p.key, p.measure) for p in found] == [("instance/1/replica lag", 7.5)]
