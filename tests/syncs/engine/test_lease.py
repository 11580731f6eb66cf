from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from syncs.engine import lease
from syncs.errors import LeaseHeld, LeaseLost
from syncs.models import Lease, RunState, SyncRun
from syncs.transfer.session import open_session

pytestmark = pytest.mark.django_db(transaction=True)


def new_run(state: RunState = RunState.QUEUED) -> SyncRun:
    return SyncRun.objects.create(sync="probe", trigger="command", state=state)


def expire() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE syncs_lease SET expires_at = clock_timestamp() - interval '1 s'")


def test_a_live_lease_names_its_holder() -> None:
    holder = new_run()
    lease.claim(holder)
    with pytest.raises(LeaseHeld, match=f"run {holder.pk} is running already"):
        lease.claim(new_run())


def test_a_released_lease_is_free() -> None:
    token = lease.claim(new_run())
    lease.release("probe", token)
    assert lease.claim(new_run()) != token


def test_a_run_that_has_ended_claims_nothing() -> None:
    """Whoever looked at it before, such as a command with a list, holds a stale record."""
    stale = new_run()
    SyncRun.objects.update(state=RunState.SUCCEEDED)
    with pytest.raises(LeaseHeld) as refused:
        lease.claim(stale)
    assert refused.value.run_id == stale.pk
    lease.claim(new_run())


def test_leases_of_different_syncs_do_not_meet() -> None:
    lease.claim(new_run())
    lease.claim(SyncRun.objects.create(sync="other", trigger="command"))


def test_a_takeover_marks_the_former_run_as_lost() -> None:
    former = new_run(RunState.RUNNING)
    lease.claim(former)
    expire()
    taker = new_run()
    lease.claim(taker)
    former.refresh_from_db()
    assert former.state == RunState.LOST
    assert former.error == f"its lease ran out; run {taker.pk} took over"


def test_a_command_that_never_began_is_cancelled() -> None:
    dead, fresh = new_run(), new_run()
    SyncRun.objects.filter(pk=dead.pk).update(created_at=dead.created_at - timedelta(hours=1))
    lease.claim(new_run())
    dead.refresh_from_db()
    fresh.refresh_from_db()
    assert (dead.state, dead.error) == (RunState.CANCELLED, "its command ended before it began")
    assert fresh.state == RunState.QUEUED


def test_an_expired_lease_that_nobody_took_may_be_renewed() -> None:
    token = lease.claim(new_run())
    expire()
    assert lease.renew("probe", token)
    with pytest.raises(LeaseHeld):
        lease.claim(new_run())


def test_after_a_takeover_neither_renewal_nor_publish() -> None:
    token = lease.claim(new_run())
    expire()
    lease.claim(new_run())
    assert not lease.renew("probe", token)
    with open_session("test") as session, pytest.raises(LeaseLost), session.transaction():
        lease.fence(session, "probe", token)


def test_a_late_release_leaves_the_new_holder_alone() -> None:
    token = lease.claim(new_run())
    expire()
    lease.claim(new_run())
    lease.release("probe", token)
    assert Lease.objects.get().expires_at is not None


def test_a_revoked_lease_is_free_and_its_holder_is_refused() -> None:
    holder = new_run()
    token = lease.claim(holder)
    assert not lease.revoke("probe", holder.pk, expired=True), "it lives"
    with transaction.atomic():
        assert lease.revoke("probe", holder.pk)
    assert not lease.renew("probe", token)
    assert lease.claim(new_run()) != token


def test_another_holder_keeps_what_is_revoked_of_a_former_one() -> None:
    former, holder = new_run(), new_run()
    token = lease.claim(holder)
    with transaction.atomic():
        assert lease.revoke("probe", former.pk)
    assert lease.renew("probe", token)


def test_renewals_pass_while_a_publish_holds_the_fence() -> None:
    token = lease.claim(new_run())
    with open_session("test") as session, session.transaction():
        lease.fence(session, "probe", token)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
            assert lease.renew("probe", token)
            cursor.execute("RESET lock_timeout")


def test_a_takeover_waits_for_a_publish_and_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TAKEOVER_TIMEOUT", "200ms")
    token = lease.claim(new_run())
    expire()
    with open_session("test") as session:
        with session.transaction():
            lease.fence(session, "probe", token)
            with pytest.raises(LeaseHeld, match="is publishing"):
                lease.claim(new_run())
        assert lease.claim(new_run()) != token


def test_of_many_simultaneous_claims_one_wins() -> None:
    runs = [new_run() for _ in range(24)]

    def claim(run: SyncRun) -> bool:
        try:
            lease.claim(run)
        except LeaseHeld:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(claim, runs)) == 1


def test_the_thread_renews_until_it_is_left(settings: Settings) -> None:
    settings.RAINBO_LEASE_RENEWAL = 0.05
    token = lease.claim(new_run())
    expire()
    with lease.Renewal("probe", token) as renewal:
        while lease_is_expired():
            renewal.lost.wait(0.05)
        Lease.objects.update(token=token + 1)  # another run takes it
        assert renewal.lost.wait(5)
        assert isinstance(renewal.ended, LeaseLost)


def lease_is_expired() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT expires_at < clock_timestamp() FROM syncs_lease")
        return bool(cursor.fetchone()[0])


def test_a_lease_from_before_the_clock_was_set_back_is_free() -> None:
    holder = new_run()
    token = lease.claim(holder)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE syncs_lease SET renewed_at = renewed_at + interval '1 h', "
            "expires_at = expires_at + interval '1 h'"
        )
    another = lease.claim(new_run())
    assert another != token
    assert not lease.renew("probe", token)


def test_a_holder_that_lives_renews_after_the_clock_was_set_back() -> None:
    holder = new_run()
    token = lease.claim(holder)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE syncs_lease SET renewed_at = renewed_at + interval '1 h', "
            "expires_at = expires_at + interval '1 h'"
        )
    assert lease.renew("probe", token)
    with pytest.raises(LeaseHeld):
        lease.claim(new_run())


def test_a_token_never_comes_again_in_an_older_copy_of_the_database() -> None:
    tokens = []
    for _ in range(3):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM syncs_lease")  # as it was before the first of them
        tokens.append(lease.claim(new_run()))
    assert len(set(tokens)) == 3
    assert all(0 <= token < 2**63 for token in tokens)


def test_a_run_moves_no_other_that_got_its_id_in_a_restored_copy() -> None:
    before = new_run(RunState.RUNNING)
    SyncRun.objects.filter(pk=before.pk).delete()
    after = SyncRun.objects.create(
        pk=before.pk, sync="probe", trigger="command", state=RunState.RUNNING
    )
    for _ in range(2):  # reading the other's row does not make it its own
        assert not before.move(RunState.FAILED, expect=(RunState.RUNNING,))
    after.refresh_from_db()
    assert after.state == RunState.RUNNING
    assert after.move(RunState.SUCCEEDED, expect=(RunState.RUNNING,))
