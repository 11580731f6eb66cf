"""Sessions from issue to end, with an instance whose application is its database's owner."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connections
from pytest_django import Settings

from common.clock import database_now
from localfleet.folders import local_root, scratch_root
from tenants.models import (
    GhostUser,
    RdsInstance,
    SupportOptOut,
    SupportSession,
    Tenant,
)
from tenants.models.support_session import SupportState
from tenants.support_access import admission, assertion, keys, sessions, states
from tenants.support_access.admission import Wanted
from tenants.support_access.sessions import Issued, Refused
from tests.caches import run_sync
from tests.instances import InstanceFleet
from tests.rows import staff
from tests.standby import catch_up, standby
from tests.tenants.support_access.test_keys import public_keys
from tests.tenants.support_access.test_table import REDEEM, REQUEST

ISSUER = "https://rainbo.example"
REASON = "Invoice 118 shows no VAT"
WANTED = Wanted(REASON, "SUP-7")
SECOND = timedelta(seconds=1)


class Place:
    """A person with a ghost user on instance 2, whose application has tenant 42."""

    def __init__(self, fleet: InstanceFleet) -> None:
        self.fleet, self.there = fleet, fleet[2]
        self.user = enter_able(staff("ann"))
        self.there.add_tenant(42, "Acme")
        self.there.add_tenant(43, "Other")
        known = {"app_url": "https://app.example/base/", "health": "healthy"}
        RdsInstance.objects.filter(pk=2).update(**known)
        self.there.add_user(17, None, "ghost@system.internal", is_ghost_admin=True)
        here = RdsInstance.objects.get(pk=2)
        states = {"wanted": "active", "confirmed": "active", "confirmed_at": database_now()}
        GhostUser.objects.create(admin_id=self.user.pk, instance=here, remote_id="17", **states)
        for key, name in (("42", "Acme"), ("43", "Other")):
            row = {"remote_id": key, "name": name, "status": "active"}
            Tenant.objects.create(instance=here, cache_refreshed_at=database_now(), **row)
        self.tenant = Tenant.objects.select_related("instance").get(instance=2, remote_id="42")

    def issue(self, wanted: Wanted = WANTED, tenant: str = "42") -> Issued:
        person = User.objects.get(pk=self.user.pk)  # nothing is cached
        found = Tenant.objects.select_related("instance").get(instance=2, remote_id=tenant)
        return sessions.issue(person, found, wanted, "192.0.2.7", lambda _: None)

    def enter(self, issued: Issued, at: datetime | None = None) -> bool:
        """As the application: verify, then redeem."""
        published = public_keys(keys.document(database_now()))
        now = at or datetime.now(UTC)
        found = assertion.verify(issued.assertion, published, ISSUER, 2, now)
        ((redeemed,),) = self.there.execute(
            REDEEM,
            {
                "jti": found.jti,
                "sub": found.ghost_id,
                "tenant": found.tenant_id,
                "act_name": found.person,
                "reason": found.reason,
                "ticket": found.ticket,
                "read_only": found.read_only,
                "session_seconds": found.session_seconds,
            },
        )
        return bool(redeemed)

    def goes_on(self, issued: Issued) -> bool:
        """As the application at the next request."""
        return bool(self.there.execute(REQUEST, {"jti": issued.session.jti}))

    def stored(self, issued: Issued) -> SupportSession:
        return SupportSession.objects.get(pk=issued.session.pk)

    def age(self, issued: Issued, by: timedelta) -> None:
        """Move a session into the past, here and there."""
        row = self.stored(issued)
        for field in ("issued_at", "expires_at", "redeemed_at", "ends_at", "answered_at"):
            if at := getattr(row, field):
                setattr(row, field, at - by)
        row.save()
        self.there.execute(
            "UPDATE rainbo_support_sessions SET redeemed_at = redeemed_at - %s, "
            "ends_at = ends_at - %s, active_at = active_at - %s",
            [by, by, by],
        )


def enter_able(user: User) -> User:
    names = ("impersonate", "open_supportsession")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


@pytest.fixture
def place(set_up: InstanceFleet, settings: Settings) -> Place:
    settings.RAINBO_CONSOLE_URL = f"{ISSUER}/"
    return Place(set_up)


def test_a_session_from_issue_to_its_end(place: Place) -> None:
    issued = place.issue()
    row = place.stored(issued)
    assert issued.address == "https://app.example/base/rainbo/enter"
    assert (row.state, row.person, row.tenant_name, row.address) == (
        SupportState.ISSUED,
        "ann",
        "Acme",
        "192.0.2.7",
    )
    assert row.expires_at - row.issued_at == timedelta(seconds=60)
    assert issued.assertion not in repr(issued)
    assert place.there.execute("SELECT count(*) FROM rainbo_support_sessions") == [(0,)]
    assert place.enter(issued)
    assert place.goes_on(issued)
    sessions.follow()
    row = place.stored(issued)
    assert (row.state, row.requests, row.refused, row.differs, row.error) == (
        SupportState.OPEN,
        1,
        0,
        "",
        "",
    )
    assert row.ends_at is not None
    assert row.redeemed_at is not None
    assert row.ends_at - row.redeemed_at == timedelta(minutes=30)
    ended = sessions.end(row, "ann")
    assert (ended.state, ended.ended_by) == (SupportState.ENDED, "rainbo: ann")
    assert not place.goes_on(issued)
    assert not place.enter(issued)
    sessions.follow()
    assert place.stored(issued).refused == 1, "a replay after the end is seen, too"


def test_the_ghost_user_there_is_the_subject(place: Place) -> None:
    """As the sync makes it there."""
    GhostUser.objects.all().delete()
    run_sync("ghost_users")
    issued = place.issue()
    (ghost,) = place.there.execute(
        "SELECT id::text FROM users WHERE rainbo_admin_id = %s", [str(place.user.pk)]
    )
    assert place.stored(issued).ghost_id == ghost[0]


def test_the_application_ends_it(place: Place) -> None:
    issued = place.issue()
    place.enter(issued)
    place.there.execute("UPDATE rainbo_support_sessions SET ended_at = now(), ended_by = 'ann'")
    sessions.follow()
    row = place.stored(issued)
    assert (row.state, row.ended_by, row.end_requested_at) == (SupportState.ENDED, "ann", None)


def deactivate_person(place: Place) -> None:
    User.objects.filter(pk=place.user.pk).update(is_active=False)


def take_permission(place: Place) -> None:
    place.user.user_permissions.remove(Permission.objects.get(codename="open_supportsession"))


def take_ghosts_permission(place: Place) -> None:
    place.user.user_permissions.remove(Permission.objects.get(codename="impersonate"))


def opt_out(place: Place) -> None:
    SupportOptOut.objects.create(instance_id=2, tenant_id="42", reason="their wish", by="bob")


def remove_tenant(place: Place) -> None:
    Tenant.objects.filter(pk=place.tenant.pk).update(vanished_at=database_now())


def disable_instance(place: Place) -> None:
    RdsInstance.objects.filter(pk=2).update(is_active=False)


def retire_ghost(place: Place) -> None:
    GhostUser.objects.filter(instance=2).update(confirmed="inactive")


def down(place: Place) -> None:
    RdsInstance.objects.filter(pk=2).update(health="down")


def unknown_ghost(place: Place) -> None:
    GhostUser.objects.filter(instance=2).update(confirmed="unknown")


def no_address(place: Place) -> None:
    RdsInstance.objects.filter(pk=2).update(app_url="")


def insecure_address(place: Place) -> None:
    RdsInstance.objects.filter(pk=2).update(app_url="http://app.example")


WITHDRAWALS: dict[Callable[[Place], None], str] = {
    deactivate_person: "ann may no longer enter tenants",
    take_permission: "ann may no longer enter tenants",
    take_ghosts_permission: "ann may no longer enter tenants",
    opt_out: "the tenant was marked do not enter",
    remove_tenant: "the instance no longer has the tenant",
    disable_instance: "the instance was disabled",
    retire_ghost: "the ghost user was deactivated",
}


def name(case: Any) -> str:
    return case.__name__ if callable(case) else str(case)


@pytest.mark.parametrize("withdraw", WITHDRAWALS, ids=name)
@pytest.mark.parametrize("redeemed", [False, True], ids=["before redeem", "inside"])
def test_what_is_withdrawn_ends_it(
    place: Place, withdraw: Callable[[Place], None], redeemed: bool
) -> None:
    issued = place.issue()
    if redeemed:
        assert place.enter(issued)
    withdraw(place)
    sessions.follow()
    assert not place.goes_on(issued)
    assert not place.enter(issued), "it is not redeemed any more, either"
    sessions.follow()
    row = place.stored(issued)
    assert row.ended_by == f"rainbo: {WITHDRAWALS[withdraw]}"
    assert row.state == (SupportState.ENDED if redeemed else SupportState.UNUSED)
    assert row.refused == 1


def enterable(place: Place) -> frozenset[int]:
    return admission.enterable(User.objects.get(pk=place.user.pk), [place.tenant.pk])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (take_permission, "no permission to open"),
        (deactivate_person, "no permission"),
        (take_ghosts_permission, "no permission to enter tenants as support"),
        (opt_out, "marked do not enter: their wish"),
        (remove_tenant, "no longer has this tenant"),
        (disable_instance, "is disabled"),
        (down, "is down"),
        (retire_ghost, "not confirmed"),
        (unknown_ghost, "not confirmed"),
        (no_address, "no address"),
        (insecure_address, "with https"),
    ],
    ids=name,
)
def test_nothing_is_issued_unless_all_is_true_at_that_moment(
    place: Place, spoil: Callable[[Place], None], why: str
) -> None:
    assert enterable(place) == {place.tenant.pk}
    spoil(place)
    with pytest.raises(Refused, match=why):
        place.issue()
    assert enterable(place) == set(), "no list leads to what would be refused"
    assert not SupportSession.objects.exists()


def test_rainbos_address_has_to_be_set(place: Place, settings: Settings) -> None:
    settings.RAINBO_CONSOLE_URL = ""
    assert enterable(place) == set()
    with pytest.raises(Refused, match="RAINBO_CONSOLE_URL"):
        place.issue()


def test_an_instance_without_the_table_says_so_plainly(place: Place) -> None:
    place.there.execute("DROP TABLE rainbo_support_sessions")
    with pytest.raises(Refused, match=r"support access is not set up on instance 2 \(rds2\)"):
        place.issue()
    assert not SupportSession.objects.exists()


def test_nothing_is_issued_that_could_not_be_ended(place: Place) -> None:
    place.there.execute("REVOKE UPDATE (ended_at) ON rainbo_support_sessions FROM rainbo")
    with pytest.raises(Refused, match="permission"):
        place.issue()
    assert place.there.execute("SELECT count(*) FROM rainbo_support_sessions") == [(0,)]


class TestOneAtATime:
    def test_an_open_session_stays_the_only_one(self, place: Place) -> None:
        place.enter(first := place.issue())
        with pytest.raises(Refused, match="open session in this tenant already"):
            place.issue()
        assert place.goes_on(first)
        other = place.issue(tenant="43")
        assert place.enter(other), "another tenant is another matter"

    def test_one_that_was_not_redeemed_is_replaced(self, place: Place) -> None:
        first, second = place.issue(), place.issue()
        assert not place.enter(first)
        assert place.enter(second)
        assert place.stored(first).ended_by == "rainbo: replaced by another session"

    def test_one_that_ended_in_the_application_is_noticed(self, place: Place) -> None:
        place.enter(place.issue())
        place.there.execute("UPDATE rainbo_support_sessions SET ended_at = now(), ended_by = 'a'")
        assert place.enter(place.issue())

    def test_two_at_the_same_moment_are_one(self, place: Place) -> None:
        def attempt(_: int) -> bool:
            try:
                place.issue()
            except Refused:
                return False
            finally:
                connections.close_all()
            return True

        with ThreadPoolExecutor(4) as pool:
            assert any(pool.map(attempt, range(4)))
        assert sessions.open_sessions().count() == 1


class TestTime:
    def test_an_unused_one_is_closed_for_a_late_clock_too(self, place: Place) -> None:
        issued = place.issue()
        place.age(issued, timedelta(seconds=119))
        sessions.follow()
        assert place.stored(issued).state == SupportState.ISSUED
        place.age(issued, 2 * SECOND)
        sessions.follow()
        sessions.follow()
        row = place.stored(issued)
        assert (row.state, row.ended_by) == (SupportState.UNUSED, "rainbo: never used")
        assert not place.enter(issued, at=issued.session.issued_at), "to a clock that is late"

    def test_its_time_is_over(self, place: Place) -> None:
        issued = place.issue()
        place.enter(issued)
        place.age(issued, timedelta(minutes=29))
        sessions.follow()
        assert place.goes_on(issued), "RAINBO was down meanwhile, and asks before it concludes"
        sessions.follow()
        assert place.goes_on(issued)
        place.age(issued, timedelta(minutes=2))
        assert not place.goes_on(issued), "the application does not wait for RAINBO"
        sessions.follow()
        row = place.stored(issued)
        assert (row.state, row.ended_by) == (SupportState.ENDED, "rainbo: time over")

    def test_nothing_is_asked_once_all_is_over(self, place: Place) -> None:
        issued = place.issue()
        place.enter(issued)
        sessions.end(issued.session, "ann")
        place.age(issued, timedelta(minutes=10))
        place.there.server.stop()
        sessions.follow()
        assert place.stored(issued).error == ""


class TestInstanceThatIsDown:
    def test_the_end_is_kept_and_written_as_soon_as_it_answers(self, place: Place) -> None:
        issued = place.issue()
        place.enter(issued)
        sessions.follow()
        place.there.execute("CHECKPOINT")
        place.there.server.stop()
        row = sessions.end(issued.session, "bob")
        assert (row.state, row.end_requested_by) == (SupportState.OPEN, "bob")
        assert "rds2" in row.error
        sessions.end(issued.session, "carl")
        place.there.server.start()
        sessions.follow()
        row = place.stored(issued)
        assert (row.state, row.ended_by, row.error) == (SupportState.ENDED, "rainbo: bob", "")

    def test_nothing_is_issued(self, place: Place) -> None:
        place.there.server.stop()
        with pytest.raises(Refused, match="rds2"):
            place.issue()
        assert not SupportSession.objects.exists()

    def test_another_server_in_its_place_is_not_written(self, place: Place) -> None:
        issued = place.issue()
        place.enter(issued)
        other = place.fleet[3]
        RdsInstance.objects.filter(pk=2).update(port=other.port)
        row = sessions.end(issued.session, "bob")
        assert row.closed_at is None
        assert row.error


def test_a_standby_is_read_by_syncs_and_its_writer_by_support_access(place: Place) -> None:
    """A replica that is an hour behind knows no session: neither a replay nor an end waits."""
    with (
        scratch_root(local_root()) as root,
        standby(root, place.there.server) as server,
    ):
        catch_up(place.there.server, server)
        with server.connect() as replica:
            replica.execute("SELECT pg_wal_replay_pause()")
        writer = {"writer_host": place.there.host, "writer_port": place.there.port}
        row = RdsInstance.objects.get(pk=2)
        for name, value in {"host": server.host, "port": server.port, **writer}.items():
            setattr(row, name, value)
        row.set_password(place.there.rainbo_password)
        row.save()
        issued = place.issue()
        assert place.enter(issued)
        assert not place.enter(issued)
        sessions.follow()
        assert (place.stored(issued).state, place.stored(issued).refused) == (SupportState.OPEN, 1)
        sessions.end(issued.session, "ann")
        assert not place.goes_on(issued)
        with server.connect("app") as replica:
            assert replica.execute("SELECT count(*) FROM rainbo_support_sessions").fetchone() == (
                0,
            )
        RdsInstance.objects.filter(pk=2).update(writer_host="", writer_port=None)
        row.refresh_from_db()
        row.set_password(place.there.rainbo_password)
        row.save()
        with pytest.raises(Refused, match="is a replica"):
            place.issue()


def test_what_differs_from_what_was_issued_is_kept(place: Place) -> None:
    issued = place.issue()
    place.enter(issued)
    place.there.execute(
        "UPDATE rainbo_support_sessions SET tenant_id = '43', "
        "ends_at = redeemed_at + interval '1 hour'"
    )
    sessions.follow()
    differs = "tenant 43 instead of 42, a longer time than was allowed"
    assert place.stored(issued).differs == differs
    place.there.execute("UPDATE rainbo_support_sessions SET tenant_id = '42'")
    sessions.follow()
    assert place.stored(issued).differs == differs, "what was seen once stays"


def test_a_row_that_was_removed_there_is_over(place: Place) -> None:
    issued = place.issue()
    place.enter(issued)
    sessions.follow()
    place.there.execute("DELETE FROM rainbo_support_sessions")
    sessions.follow()
    row = place.stored(issued)
    assert (row.ended_by, row.differs) == (states.REMOVED, states.REMOVED)


def test_times_out_of_bounds_are_unknown(place: Place) -> None:
    issued = place.issue()
    place.enter(issued)
    place.there.execute("UPDATE rainbo_support_sessions SET active_at = 'infinity'")
    sessions.follow()
    row = place.stored(issued)
    assert (row.active_at, row.error, row.state) == (None, "", SupportState.OPEN)


def test_a_look_asks_in_a_bounded_number_of_queries(
    place: Place, django_assert_max_num_queries: Any
) -> None:
    for tenant in ("42", "43"):
        place.enter(place.issue(tenant=tenant))
    with django_assert_max_num_queries(22):
        sessions.follow()


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("", "at least 10"),
        ("too short", "at least 10"),
        ("          x          ", "at least 10"),
        ("aaaaaaaaaaaaaaaa", "understand"),
        ("1234567890 12345", "understand"),
        ("........ ......", "understand"),
        ("x" * 501, "at most 500"),
        ("Invoice 118\u202e shows no VAT", "can't be shown"),
    ],
)
def test_a_reason_has_substance(reason: str, why: str) -> None:
    assert why in admission.wrong_reason(" ".join(reason.split()))


@pytest.mark.parametrize("reason", [REASON, "Účet se nedá otevřít", "請求書に消費税がありません"])
def test_reasons_in_any_language(reason: str) -> None:
    assert admission.wrong_reason(reason) == ""


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://app.example", "https://app.example/rainbo/enter"),
        ("https://app.example:8443/x/", "https://app.example:8443/x/rainbo/enter"),
        ("http://127.0.0.1:8001/", "http://127.0.0.1:8001/rainbo/enter"),
        ("http://localhost", "http://localhost/rainbo/enter"),
        ("http://localhost.example", ""),
        ("http://app.example", ""),
        ("https://ann:pw@app.example", ""),
        ("https://app.example/?a=b", ""),
        ("https://app.example/#a", ""),
        ("ftp://app.example", ""),
        ("", ""),
    ],
)
def test_where_the_form_is_sent(url: str, address: str) -> None:
    assert admission.entry_address(RdsInstance(pk=1, app_url=url)) == address


def test_groups_give_the_permission(place: Place) -> None:
    """By the role, as in production: not only by permissions of single users."""
    group = Group.objects.get(name="support_admin")
    place.user.groups.add(group)
    place.user.user_permissions.clear()
    assert group.permissions.filter(codename="open_supportsession").exists()
    assert place.enter(place.issue())
