from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from pytest_django import Settings

from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import (
    BucketDigest,
    Confirmation,
    RunState,
    SyncRun,
    TargetState,
    Trigger,
    WithheldRow,
)
from tenants.models import RdsInstance, RouteRemoval, Tenant, UserRoute
from tests.caches import counts, part, query, register, run_sync, shown_emails, versions, withheld
from tests.instances import Instance, InstanceFleet

Extra = Callable[..., Instance]


def in_full(run: SyncRun, target: int = 1) -> str:
    """Why the run read all rows; empty when it read what differed."""
    return _logged(run, "read in full: ", target)


def recomputed(run: SyncRun, target: int = 1) -> str:
    """Why the run computed the digests of the stored routes again; empty when it didn't."""
    return _logged(run, "stored routes compared again: ", target)


def _logged(run: SyncRun, first: str, target: int) -> str:
    said = run.log.filter(message__startswith=first, target=target).first()
    return said.message.removeprefix(first) if said else ""


def fill(master: Instance, rows: int) -> None:
    master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id, status) "
        "SELECT n, 'user' || n || '@example.com', n %% 50, n, 'Active' "
        "FROM generate_series(1, %s) AS n",
        [rows],
    )


def test_the_directory_arrives(master: Instance) -> None:
    master.add_route(1, "Ann@Example.com", 7, user_id=70, user_name="Ann", status="Active")
    master.add_route(2, "bob@example.com", 8, 2, user_id=80)
    run = run_sync("user_routing")
    assert run.state == RunState.SUCCEEDED, run.error
    assert counts(run) == (2, 2, 0, 0, 0)
    ann, bob = UserRoute.objects.all()
    assert (ann.email, ann.email_key) == ("Ann@Example.com", "ann@example.com")
    assert (ann.remote_instance_id, ann.remote_tenant_id, ann.remote_user_id) == ("1", "7", "70")
    assert (bob.remote_instance_id, bob.on_master) == ("2", False)


def test_the_view_shows_the_columns_of_the_original(master: Instance) -> None:
    master.add_route(1, "ann@example.com", 7, 2, user_id=70, user_name="Ann")
    run_sync("user_routing")
    tenant = Tenant.objects.create(
        instance_id=2,
        remote_id="7",
        name="Seven",
        status="active",
        cache_refreshed_at=Confirmation.objects.get().at,
    )
    rows = query("SELECT * FROM user_email_routing_cache")
    at = Confirmation.objects.get(sync="user_routing", target="1").at
    assert rows == [("ann@example.com", 2, tenant.pk, "70", "Ann", "Active", at)]


def test_three_changes_and_a_removal_write_no_other_row(master: Instance) -> None:
    fill(master, 1000)
    run_sync("user_routing")
    before = versions()
    master.execute("UPDATE user_email_routing SET user_name = 'New' WHERE id IN (1, 2, 3)")
    master.execute("DELETE FROM user_email_routing WHERE id = 4")
    run = run_sync("user_routing")
    assert counts(run) == (999, 0, 3, 1, 0)
    assert len(before - versions()) == 4
    assert len(versions() - before) == 3


def test_a_repeat_writes_nothing(master: Instance) -> None:
    fill(master, 1000)
    first = run_sync("user_routing")
    before = versions() | versions("syncs_bucketdigest")
    second = run_sync("user_routing")
    assert counts(second) == (1000, 0, 0, 0, 0)
    assert versions() | versions("syncs_bucketdigest") == before
    confirmed = Confirmation.objects.get(sync="user_routing")
    assert (confirmed.run_id, confirmed.rows) == (second.pk, 1000)
    assert first.started_at
    assert confirmed.at > first.started_at


def test_a_removed_route_is_remembered(master: Instance) -> None:
    fill(master, 3)
    run_sync("user_routing")
    master.execute("DELETE FROM user_email_routing WHERE id = 2")
    run = run_sync("user_routing")
    gone = RouteRemoval.objects.get()
    assert (gone.email_key, gone.run_id) == ("user2@example.com", run.pk)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ann@example.com", "ANN@Example.com"), ("j\u00fcrgen@x.org", "ju\u0308rgen@x.org")],
    ids=["case", "NFC and NFD"],
)
def test_of_two_spellings_in_one_tenant_the_later_is_shown(
    master: Instance, one: str, other: str
) -> None:
    master.add_route(1, one, 7)
    master.add_route(2, other, 7)
    master.execute("UPDATE user_email_routing SET updated_at = now() - interval '1 h' WHERE id = 2")
    run = run_sync("user_routing")
    assert counts(run) == (2, 2, 0, 0, 1)
    assert shown_emails() == [one]
    assert withheld() == {"2": "account 1 of this tenant has the same e-mail"}


def test_a_loser_steps_forward_when_its_winner_goes(master: Instance) -> None:
    master.add_route(9, "ann@example.com", 7)
    master.add_route(10, "ANN@example.com", 7)
    master.execute("UPDATE user_email_routing SET updated_at = '2026-01-01'")
    run_sync("user_routing")
    assert shown_emails() == ["ANN@example.com"]
    master.execute("DELETE FROM user_email_routing WHERE id = 10")
    run = run_sync("user_routing")
    assert counts(run) == (1, 0, 1, 1, 0)
    assert shown_emails() == ["ann@example.com"]


def test_one_email_in_several_tenants_is_shown_in_each(master: Instance) -> None:
    for row, (tenant, instance) in enumerate([(7, None), (8, None), (7, 2)]):
        master.add_route(row, "ann@example.com", tenant, instance)
    run_sync("user_routing")
    assert len(shown_emails()) == 3


@pytest.mark.parametrize(
    "pair",
    [
        ("\u0130da@x.com", "ida@x.com"),
        ("\u0131da@x.com", "ida@x.com"),
        ("\u212aarl@x.com", "karl@x.com"),
        ("\u017fam@x.com", "sam@x.com"),
    ],
)
def test_look_alikes_are_never_merged(master: Instance, pair: tuple[str, str]) -> None:
    for row, email in enumerate(pair):
        master.add_route(row, email, 7)
    run_sync("user_routing")
    assert set(shown_emails()) == set(pair)
    assert UserRoute.objects.values("email_key").distinct().count() == 2


def test_an_instance_unknown_to_rainbo_loses_nothing(master: Instance) -> None:
    master.add_route(1, "ann@example.com", 7, 99)
    run_sync("user_routing")
    rows = query("SELECT email, rds_instance_id, tenant_master_id FROM user_email_routing_cache")
    assert rows == [("ann@example.com", 99, None)]


def test_bad_rows_are_withheld_one_by_one(master: Instance) -> None:
    fill(master, 5)
    master.add_route(6, "x" * 321, 7)
    master.add_route(7, "a@example.com", 7, user_name="n" * 1_000_000)
    master.add_route(8, "a@example.com", None)
    master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id) "
        "VALUES (9, NULL, 1, 1), (10, '', 1, 1), (11, 'b@example.com', 1, NULL)"
    )
    run = run_sync("user_routing")
    assert run.state == RunState.SUCCEEDED
    assert counts(run) == (11, 5, 0, 0, 6)
    assert dict(WithheldRow.objects.values_list("source_id", "reason")) == {
        "6": "e-mail longer than 320 characters",
        "7": "name longer than 1,000 characters",
        "8": "no tenant id",
        "9": "no e-mail",
        "10": "no e-mail",
        "11": "no user id",
    }


def test_too_many_bad_rows_fail_the_run(master: Instance) -> None:
    fill(master, 5)
    run_sync("user_routing")
    master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id) "
        "SELECT n, NULL, 1 FROM generate_series(100, 200) AS n"
    )
    run = run_sync("user_routing")
    assert (run.state, part(run).state) == (RunState.FAILED, TargetState.FAILED)
    assert "101 of 106 rows can't be used (no e-mail, for one)" in part(run).error
    assert len(shown_emails()) == 5


@pytest.mark.parametrize("row_id", [-1, 0, 2**63 - 1])
def test_odd_ids_arrive_as_they_are(master: Instance, row_id: int) -> None:
    master.add_route(row_id, "ann@example.com", row_id, user_id=row_id)
    run_sync("user_routing")
    route = UserRoute.objects.get()
    assert (route.source_id, route.remote_tenant_id) == (str(row_id), str(row_id))


def test_uuid_ids_arrive_as_they_are(master: Instance) -> None:
    master.execute(
        "ALTER TABLE user_email_routing ALTER id TYPE uuid USING gen_random_uuid(), "
        "ALTER tenant_id TYPE uuid USING gen_random_uuid()"
    )
    master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id) "
        "VALUES (gen_random_uuid(), 'ann@example.com', gen_random_uuid(), 1)"
    )
    run = run_sync("user_routing")
    assert run.state == RunState.SUCCEEDED
    ids = master.execute("SELECT id::text, tenant_id::text FROM user_email_routing")
    assert query("SELECT source_id, remote_tenant_id FROM user_routes") == ids


def test_undecodable_bytes_are_withheld(
    master: Instance, extra_instance: Callable[..., Instance], registered: InstanceFleet
) -> None:
    RdsInstance.objects.update(is_master=False)
    ascii_master = extra_instance(4, master=True, encoding="SQL_ASCII")
    register(ascii_master)
    ascii_master.add_route(1, "j\u00fcrgen@example.com", 7, user_name="J\u00fcrgen")
    ascii_master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id, user_name) "
        r"VALUES (2, 'bob@example.com', 7, 2, E'Bj\xf6rn')"
    )
    run = run_sync("user_routing")
    assert counts(run, 4) == (2, 1, 0, 0, 1)
    assert shown_emails() == ["j\u00fcrgen@example.com"]
    bad = WithheldRow.objects.get()
    assert (bad.source_id, bad.reason) == ("2", "undecodable text in user_name")
    before = versions("syncs_withheldrow")
    assert counts(run_sync("user_routing"), 4) == (2, 0, 0, 0, 1)
    assert versions("syncs_withheldrow") == before


def test_uncommitted_changes_are_not_read(master: Instance) -> None:
    fill(master, 10)
    with master.connect(autocommit=False) as writer:
        writer.execute("DELETE FROM user_email_routing WHERE id = 1")
        writer.execute("UPDATE user_email_routing SET email = 'new@example.com' WHERE id = 2")
        run = run_sync("user_routing")
        writer.rollback()
    assert counts(run) == (10, 10, 0, 0, 0)
    assert "new@example.com" not in shown_emails()


def test_an_emptied_source_is_held_and_accepted_once(master: Instance) -> None:
    fill(master, 50)
    run_sync("user_routing")
    master.execute("DELETE FROM user_email_routing")
    held = run_sync("user_routing")
    assert held.state == RunState.HELD
    assert part(held).note == "the source is empty and had 50 rows"
    assert len(shown_emails()) == 50
    accepting = run_sync("user_routing", accept_held=held.pk, reason="moved away")
    assert accepting.state == RunState.SUCCEEDED
    assert counts(accepting) == (0, 0, 0, 50, 0)
    held.refresh_from_db()
    assert held.accepted_by == accepting


def test_what_goes_beyond_the_acceptance_is_held_again(master: Instance) -> None:
    fill(master, 100)
    run_sync("user_routing")
    master.execute("DELETE FROM user_email_routing WHERE id <= 34")
    held = run_sync("user_routing")
    assert part(held).note == "34 of 100 rows (34%) would be removed"
    master.execute("DELETE FROM user_email_routing WHERE id = 35")
    again = run_sync("user_routing", accept_held=held.pk, reason="looked at")
    assert again.state == RunState.HELD
    assert "1 of the changes were not accepted" in part(again).note
    assert len(shown_emails()) == 100


def test_a_repeat_of_the_same_held_set_supersedes_the_older(master: Instance) -> None:
    fill(master, 100)
    run_sync("user_routing")
    master.execute("DELETE FROM user_email_routing WHERE id <= 34")
    first, second = run_sync("user_routing"), run_sync("user_routing")
    first.refresh_from_db()
    assert first.superseded_by == second
    assert second.held_changes.count() == 34


def test_a_source_that_is_repaired_needs_no_decision(master: Instance) -> None:
    fill(master, 100)
    run_sync("user_routing")
    master.execute("CREATE TABLE kept AS TABLE user_email_routing")
    master.execute("DELETE FROM user_email_routing WHERE id <= 34")
    held = run_sync("user_routing")
    master.execute("INSERT INTO user_email_routing SELECT * FROM kept WHERE id <= 34")
    repaired = run_sync("user_routing")
    held.refresh_from_db()
    assert (repaired.state, held.superseded_by) == (RunState.SUCCEEDED, repaired)
    assert not held.held_changes.exists()
    assert part(held).held_counts == {"removed": 34}


def test_what_was_discarded_is_held_anew_and_never_published(master: Instance) -> None:
    fill(master, 100)
    run_sync("user_routing")
    master.execute("DELETE FROM user_email_routing WHERE id <= 34")
    first = run_sync("user_routing")
    assert part(first).held_counts == {"removed": 34}
    acceptance = runs.request(
        "user_routing", Options(accept_held=first.pk, reason="left"), Trigger.BUTTON
    )
    SyncRun.objects.filter(pk=first.pk).update(discarded_at=Now(), discarded_by="ann")
    ended = runs.execute(acceptance)
    assert ended.state == RunState.FAILED
    assert part(ended).error == f"run {first.pk} was accepted or discarded before"
    assert len(shown_emails()) == 100
    second = run_sync("user_routing")
    first.refresh_from_db()
    assert (second.state, first.superseded_by) == (RunState.HELD, None)


def test_a_wrong_master_is_held(registered: InstanceFleet) -> None:
    fill(registered.master, 100)
    run_sync("user_routing")
    registered.master.execute("UPDATE user_email_routing SET rds_instance_id = 2 WHERE id <= 40")
    run = run_sync("user_routing")
    assert run.state == RunState.HELD
    assert "40 of 100 rows (40%) would change instance: is this the master?" in part(run).note


def test_slow_erosion_is_held(master: Instance) -> None:
    fill(master, 300)
    run_sync("user_routing")
    for _ in range(2):
        master.execute(
            "DELETE FROM user_email_routing WHERE id IN "
            "(SELECT id FROM user_email_routing LIMIT 20)"
        )
        run = run_sync("user_routing")
    assert run.state == RunState.HELD
    why = "40 of 300 rows (13%) would be removed within 24 h, 20 of them by earlier runs"
    assert part(run).note == why


def age(hours: int) -> None:
    """Let hours pass: all runs ended that much earlier."""
    query("UPDATE syncs_syncrun SET finished_at = finished_at - %s * interval '1 hour'", hours)


def test_routes_that_move_in_small_steps_are_held(master: Instance) -> None:
    fill(master, 100)
    run_sync("user_routing")
    states = []
    for step in range(4):
        first = step * 25 + 1
        master.execute(
            "UPDATE user_email_routing SET rds_instance_id = 2 WHERE id BETWEEN %s AND %s",
            [first, first + 24],
        )
        run = run_sync("user_routing")
        states.append(run.state)
    assert states == [RunState.SUCCEEDED, *[RunState.HELD] * 3]
    assert "would change instance: is this the master?" in part(run).note


def test_a_run_that_removes_nothing_is_never_held(master: Instance, settings: Settings) -> None:
    """Also while there are many fewer rows than 24 h ago."""
    fill(master, 130)
    run_sync("user_routing")
    age(25)
    settings.RAINBO_GUARD_ROUTES_REMOVED = (20, 100)
    master.execute("DELETE FROM user_email_routing WHERE id <= 40")
    run_sync("user_routing")
    settings.RAINBO_GUARD_ROUTES_REMOVED = (20, 10)
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    master.add_route(500, "new@example.com")
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    assert "new@example.com" in shown_emails()


def test_what_a_person_accepted_begins_a_new_window(master: Instance) -> None:
    fill(master, 300)
    run_sync("user_routing")
    master.execute("DELETE FROM user_email_routing WHERE id <= 40")
    held = run_sync("user_routing")
    assert held.state == RunState.HELD
    accept(held)
    master.execute("DELETE FROM user_email_routing WHERE id <= 60")
    assert run_sync("user_routing").state == RunState.SUCCEEDED


def test_what_a_master_had_before_another_is_no_measure(
    registered: InstanceFleet, extra_instance: Extra
) -> None:
    other = extra_instance(4, master=True)
    register(other, is_master=False)
    for one, rows in ((registered.master, 1000), (other, 100)):
        fill(one, rows)
        one.execute("UPDATE user_email_routing SET rds_instance_id = 2")
    run_sync("user_routing")
    age(24 * 30)
    make_master(other)
    accept(run_sync("user_routing"))
    age(24 * 20)
    registered.master.execute("DELETE FROM user_email_routing WHERE id > 100")
    make_master(registered.master)
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    registered.master.execute("DELETE FROM user_email_routing WHERE id <= 20")
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    registered.master.execute("DELETE FROM user_email_routing WHERE id <= 25")
    again = run_sync("user_routing")
    assert part(again).note.startswith("25 of 100 rows (25%) would be removed within 24 h")


def make_master(instance: Instance) -> None:
    RdsInstance.objects.update(is_master=False)
    RdsInstance.objects.filter(pk=instance.id).update(is_master=True)


def accept(held: SyncRun) -> SyncRun:
    return run_sync(held.sync, accept_held=held.pk, reason="looked at")


def test_a_changed_master_keeps_what_the_directory_meant(registered: InstanceFleet) -> None:
    registered.master.add_route(1, "ann@example.com", 7)
    run_sync("user_routing")
    RdsInstance.objects.filter(pk=1).update(is_master=False)
    RdsInstance.objects.filter(pk=2).update(is_master=True)
    assert query("SELECT rds_instance_id FROM user_email_routing_cache") == [(1,)]


def test_a_dry_run_tells_and_writes_nothing(master: Instance) -> None:
    fill(master, 5)
    run = run_sync("user_routing", dry_run=True)
    assert (run.state, counts(run)) == (RunState.SUCCEEDED, (5, 5, 0, 0, 0))
    assert not UserRoute.objects.exists()
    assert not Confirmation.objects.exists()
    assert not BucketDigest.objects.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"is_master": False}, "no instance is the master"),
        ({"is_active": False}, "instance 1 (rds1) is the master but is not active"),
    ],
)
def test_without_a_usable_master_the_run_says_so(
    master: Instance, change: dict[str, bool], words: str
) -> None:
    fill(master, 5)
    run_sync("user_routing")
    RdsInstance.objects.filter(pk=1).update(**change)
    run = run_sync("user_routing")
    assert run.state == RunState.FAILED
    assert words in run.error
    assert len(shown_emails()) == 5


def test_the_command_tells_how_it_went(
    master: Instance, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(master, 3)
    call_command("sync_user_routing")
    out = capsys.readouterr().out
    assert "instance 1 (rds1): succeeded; read 3, added 3, changed 0, removed 0, withheld 0" in out
    assert f"Run {SyncRun.objects.get().pk}." in out
