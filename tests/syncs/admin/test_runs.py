"""The console's pages of runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from syncs.admin import run_page
from syncs.admin.held_changes import OF_A_KIND
from syncs.models import HeldChange, RunLog, RunState, SyncRun, TargetState, Trigger
from tests.pages import text_of
from tests.rows import confirmation, ended_run, instance_row, run_part, staff

LIST = "/admin/syncs/syncrun/"

pytestmark = pytest.mark.django_db


def page(run: SyncRun) -> str:
    return f"{LIST}{run.pk}/change/"


@pytest.mark.parametrize("state", list(RunState))
def test_every_state_is_shown_as_a_word(admin_client: Client, state: RunState) -> None:
    ended_run(state=state)
    assert f">{state}</span>" in admin_client.get(LIST).content.decode()


def test_a_run_is_summed_up_over_its_instances(admin_client: Client) -> None:
    run = ended_run(state=RunState.PARTIAL, error="1 of 2 instances failed")
    run_part(run, "1", read=1200, added=3, changed=0, removed=0)
    run_part(run, "2", state=TargetState.FAILED, error="refused the connection")
    shown = text_of(admin_client.get(LIST))
    assert "1 of 2 failed; read 1,200, added 3; 1 of 2 instances failed" in shown


def test_a_run_that_found_nothing_new_says_so(admin_client: Client) -> None:
    run_part(ended_run(), read=500, added=0, changed=0, removed=0, withheld=0)
    assert "read 500, changed nothing" in text_of(admin_client.get(LIST))


def test_the_list_takes_the_same_queries_for_one_run_and_for_many(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(30):
        run_part(ended_run())
    with django_assert_max_num_queries(11):
        admin_client.get(LIST)


def test_runs_are_filtered_by_what_happened(admin_client: Client) -> None:
    ended_run(error="a good one")
    ended_run(state=RunState.FAILED, error="a bad one")
    shown = text_of(admin_client.get(f"{LIST}?state=failed&sync=user_routing"))
    assert "a bad one" in shown
    assert "a good one" not in shown
    assert "a bad one" not in text_of(admin_client.get(f"{LIST}?sync=ghost_users"))


def some_runs() -> dict[str, SyncRun]:
    """Of each kind one, by what it is filtered by."""
    day = datetime(2026, 11, 20, 12, tzinfo=UTC)
    runs = {
        "sync=ghost_users": ended_run("ghost_users"),
        "state=lost": ended_run(state=RunState.LOST),
        "trigger=api": ended_run(),
        "actor=mia": ended_run(actor="mia"),
        "instance=88": ended_run(),
        "dry=only": ended_run(options={"dry_run": True}),
        "created_at_from=2026-11-20&created_at_to=2026-11-20": ended_run(),
    }
    run_part(runs["instance=88"], "88")
    SyncRun.objects.filter(pk=runs["trigger=api"].pk).update(trigger=Trigger.API)
    SyncRun.objects.filter(pk=list(runs.values())[-1].pk).update(created_at=day)
    return runs


def test_each_filter_finds_its_own(admin_client: Client) -> None:
    runs = some_runs()
    for query, run in runs.items():
        shown = text_of(admin_client.get(f"{LIST}?{query}"))
        assert re.findall(r"\brun (\d+)\b", shown) == [str(run.pk)], query
    others = text_of(admin_client.get(f"{LIST}?dry=no&instance=88&actor=%00"))
    assert f"run {runs['instance=88'].pk} " in others


def found(client: Client, query: str) -> set[int]:
    shown = text_of(client.get(f"{LIST}?{query}"))
    return {int(pk) for pk in re.findall(r"\brun (\d+)\b", shown)}


def test_a_search_finds_a_run_by_what_people_know(admin_client: Client) -> None:
    instance_row(7, name="us-west-01")
    other, by_mia = ended_run(), ended_run(actor="mia")
    staff("mia.kaya")
    asked = ended_run(actor="mia.kaya")
    there, broken = ended_run(), ended_run(state=RunState.FAILED, error="no lease: 100% of it")
    partial = ended_run(state=RunState.PARTIAL)
    run_part(there, "7", label="instance 7 (us-west-01)")
    run_part(partial, "8", state=TargetState.FAILED, error="can't be reached")
    finds = {
        str(other.pk): {other.pk},
        f"run {other.pk}": {other.pk},
        "us-WEST": {there.pk},
        "mia": {by_mia.pk, asked.pk},
        "100%": {broken.pk},
        "be reached": {partial.pk},
        "0%25": set(),
        "9" * 30: set(),
        "\\": set(),
    }
    for term, expected in finds.items():
        assert found(admin_client, f"q={quote(term)}") == expected, term
    assert found(admin_client, "q=mia&state=failed") == set()


def test_runs_of_each_minute_are_folded_until_something_is_chosen(admin_client: Client) -> None:
    health, routes = ended_run("instance_health"), ended_run()
    page = admin_client.get(LIST).content.decode()
    assert "Health checks: runs of each minute are folded." in page
    assert 'href="?frequent=shown">Show them</a>' in page
    assert found(admin_client, "") == {routes.pk}
    for query in ("frequent=shown", "state=succeeded"):
        assert found(admin_client, query) == {health.pk, routes.pk}
    assert found(admin_client, "sync=instance_health") == {health.pk}
    assert "are folded" not in text_of(admin_client.get(f"{LIST}?frequent=shown"))
    assert "E-mail routes" in text_of(admin_client.get(LIST))


def test_an_instance_of_old_is_offered_by_its_name(admin_client: Client) -> None:
    run_part(ended_run(), "88", label="instance 88 (gone)")
    assert "instance 88 (gone)" in text_of(admin_client.get(f"{LIST}?instance=88"))


def test_the_page_leads_to_the_runs_around_it(admin_client: Client) -> None:
    before, run, other, after = (ended_run(sync) for sync in ("a", "a", "b", "a"))
    shown = admin_client.get(page(run)).content.decode()
    assert page(before) in shown
    assert page(after) in shown
    assert page(other) not in shown


def test_the_page_compares_with_the_usual_and_says_how_to_repeat(admin_client: Client) -> None:
    ended_run(seconds=20)
    run = ended_run("tenant_summaries", seconds=30, options={"targets": ["2"], "force": True})
    ended_run("tenant_summaries", seconds=10)
    shown = text_of(admin_client.get(page(run)))
    assert "30.0 s, usually 20.0 s" in shown
    assert "sync_tenant_summaries --rds 2 --force" in shown


def test_the_page_is_headed_by_the_run(admin_client: Client) -> None:
    run = ended_run("user_routing")
    assert f">Run {run.pk} of E-mail routes</h2>" in admin_client.get(page(run)).content.decode()


def test_the_admins_that_a_run_keeps_to_are_named(admin_client: Client) -> None:
    ann = staff("ann")
    run = ended_run("ghost_users", options={"only": [str(ann.pk), "999"]})
    shown = text_of(admin_client.get(page(run)))
    assert f"only ann ({ann.pk}), deleted user (999)" in shown


def test_a_held_run_that_was_mended_since_asks_nobody(admin_client: Client) -> None:
    run = ended_run(state=RunState.HELD)
    run_part(run, state=TargetState.HELD)
    later = ended_run()
    confirmation(run=later)
    shown = text_of(admin_client.get(page(run)))
    assert f"Run {later.pk} has published these instances since" in shown
    assert "Accept:" not in shown


def test_the_part_that_is_refreshed_is_that_alone(admin_client: Client) -> None:
    run = ended_run(state=RunState.RUNNING)
    url = f"{LIST}{run.pk}/live/"
    assert admin_client.get(url)["Location"] == page(run)
    part = admin_client.get(url, headers={"X-Rainbo-Refresh": "1"}).content.decode()
    assert part.startswith('<div id="run" data-live ')
    assert "csrfmiddlewaretoken" not in part  # it would differ each time
    assert "data-over" not in part
    SyncRun.objects.update(state=RunState.SUCCEEDED)
    part = admin_client.get(url, headers={"X-Rainbo-Refresh": "1"}).content.decode()
    assert "data-over" in part


def test_the_page_shows_what_became_of_each_instance(admin_client: Client) -> None:
    run = ended_run(state=RunState.PARTIAL, actor="ann")
    run_part(run, "1", read=7, withheld=None, seconds=1.5)
    run_part(run, "2", state=TargetState.FAILED, error="has no database app: check its name")
    RunLog.objects.create(run=run, level="warning", target="2", message="gave up on it")
    shown = text_of(admin_client.get(page(run)))
    for expected in (
        "instance 1",
        "1.5 s",
        "has no database app",
        "gave up on it",
        "schedule: ann",
    ):
        assert expected in shown
    assert (
        "Run it again Includes everything that this run included. python manage.py sync_user"
        in shown
    )


def test_the_page_shows_what_is_held_and_how_to_accept_it(admin_client: Client) -> None:
    run = ended_run(state=RunState.HELD)
    counts = {"removed": OF_A_KIND + 7, "moved": 1}
    run_part(run, "1", state=TargetState.HELD, note="27 of 90 would go", held_counts=counts)
    HeldChange.objects.bulk_create(
        HeldChange(run=run, target="1", kind="removed", source_id=f"row-{n}", detail="ann@x.com")
        for n in range(OF_A_KIND + 7)
    )
    HeldChange.objects.create(run=run, target="1", kind="moved", source_id="row-moved")
    shown = text_of(admin_client.get(page(run)))
    for expected in ("row-0 ", f"row-{OF_A_KIND - 1} ", "row-moved ", "Held changes (sample)"):
        assert expected in shown
    assert f"row-{OF_A_KIND} " not in shown
    assert f"Accept: remove {OF_A_KIND + 7}, move 1" in shown
    assert f"--accept-held {run.pk}" in shown
    assert f"discard_held {run.pk} --reason" in shown


def test_instances_that_lose_most_are_named_first(admin_client: Client) -> None:
    run = ended_run(state=RunState.HELD)
    for key, removed in (("10", 30), ("9", 30), ("2", 4)):
        counts = {"removed": removed}
        run_part(run, key, label=f"inst-{key}", state=TargetState.HELD, held_counts=counts)
    shown = text_of(admin_client.get(page(run)))
    assert re.findall(r"inst-(\d+) remove", shown) == ["9", "10", "2"]


def test_the_page_takes_a_bounded_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    run = ended_run(state=RunState.PARTIAL)
    for number in range(40):
        run_part(run, str(number), state=TargetState.FAILED)
        RunLog.objects.create(run=run, message="a line")
    with django_assert_max_num_queries(20):
        admin_client.get(page(run))


def test_a_run_of_a_sync_that_is_no_more_still_has_its_page(admin_client: Client) -> None:
    run = ended_run(sync="forgotten", state=RunState.FAILED, options={"old": 1})
    shown = text_of(admin_client.get(page(run)))
    assert "no sync is named 'forgotten'" in shown
    assert "unknown options: old" in shown


def test_what_others_wrote_is_text_on_the_page(admin_client: Client) -> None:
    run = ended_run(error="<script>1</script>")
    RunLog.objects.create(run=run, message="<script>2</script>")
    shown = admin_client.get(page(run)).content.decode()
    assert "<script>1" not in shown
    assert "<script>2" not in shown


@pytest.mark.parametrize("way", ["add/", "{pk}/delete/", "{pk}/change/"])
def test_nobody_writes_runs_by_hand(admin_client: Client, way: str) -> None:
    run = ended_run()
    answer = admin_client.post(LIST + way.format(pk=run.pk), {"state": "failed", "post": "yes"})
    assert answer.status_code == 403
    run.refresh_from_db()
    assert run.state == RunState.SUCCEEDED


def test_looking_takes_its_permission(client: Client) -> None:
    run = SyncRun.objects.create(sync="user_routing", trigger=Trigger.COMMAND)
    user = staff()
    client.force_login(user)
    assert client.get(page(run)).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_syncrun"))
    assert client.get(page(run)).status_code == 200


def test_the_empty_list_names_the_next_step(admin_client: Client) -> None:
    assert "manage.py setup_schedules" in text_of(admin_client.get(LIST))
    for search in ("state=failed", "trigger=api", "sync=ghost_users", "dry=only", "actor=ann"):
        assert "Nothing matches" in text_of(admin_client.get(f"{LIST}?{search}"))


def test_what_a_dry_run_found_is_a_wish(admin_client: Client) -> None:
    run = ended_run(options={"dry_run": True})
    run_part(run, read=500, added=3, changed=0, removed=0)
    assert "dry run: read 500, would add 3" in text_of(admin_client.get(LIST))
    assert "would be 3" in text_of(admin_client.get(page(run)))


def test_what_is_held_is_a_wish(admin_client: Client) -> None:
    run = ended_run(state=RunState.HELD)
    run_part(run, state=TargetState.HELD, read=500, removed=300)
    assert "1 of 1 held, read 500, would remove 300" in text_of(admin_client.get(LIST)).replace(
        "; ", ", "
    )


def test_what_is_held_counts_not_as_done(admin_client: Client) -> None:
    run = ended_run(state=RunState.PARTIAL)
    run_part(run, "1", state=TargetState.HELD, read=500, removed=300)
    failed = run_part(run, "2", state=TargetState.FAILED)
    assert "1 of 2 held, read 500, would remove 300" in in_list(admin_client)
    failed.state, failed.read, failed.added = TargetState.SUCCEEDED, 7, 2
    failed.save()
    assert "1 of 2 held, read 7, added 2" in in_list(admin_client)
    assert "would remove" not in in_list(admin_client)


def in_list(client: Client) -> str:
    return text_of(client.get(LIST)).replace("; ", ", ")


@pytest.mark.parametrize(
    ("state", "expected"),
    [(TargetState.SKIPPED, "3 skipped"), (TargetState.SUCCEEDED, "3 succeeded")],
)
def test_a_run_without_counts_says_what_became_of_its_instances(
    admin_client: Client, state: TargetState, expected: str
) -> None:
    run = ended_run()
    for number in "123":
        run_part(run, number, state=state)
    assert expected in text_of(admin_client.get(LIST))


def test_the_instances_of_a_run_are_links(admin_client: Client, client: Client) -> None:
    instance_row(1)
    run = ended_run(state=RunState.HELD)
    run_part(run, "1", state=TargetState.HELD)
    run_part(run, "2")
    shown = admin_client.get(page(run)).content.decode()
    assert shown.count('href="/admin/tenants/rdsinstance/1/change/"') == 2
    assert "rdsinstance/2/" not in shown, "it is not registered any more"
    reader = staff("bob")
    reader.user_permissions.set(Permission.objects.filter(codename="view_syncrun"))
    client.force_login(reader)
    assert "rdsinstance/1/" not in client.get(page(run)).content.decode()


def test_a_discarded_run_says_so_beside_its_state(admin_client: Client) -> None:
    run, later = ended_run(state=RunState.HELD, discarded_at=timezone.now()), ended_run()
    for address in (LIST, page(run), page(later)):
        shown = admin_client.get(address).content.decode()
        assert '>held</span> <span class="badge badge-quiet">discarded</span>' in shown, address


def test_the_page_says_what_became_of_what_was_held(admin_client: Client) -> None:
    run = ended_run(state=RunState.HELD)
    run_part(run, state=TargetState.HELD)
    assert "They need review: accept or discard them" in text_of(admin_client.get(page(run)))
    newer = ended_run(state=RunState.HELD)
    run_part(newer, state=TargetState.HELD)
    SyncRun.objects.filter(pk=run.pk).update(superseded_by=newer)
    assert f"Run {newer.pk} holds the same" in text_of(admin_client.get(page(run)))
    SyncRun.objects.filter(pk=run.pk).update(accepted_by=newer)
    shown = text_of(admin_client.get(page(run)))
    assert f"A user accepted them: no reason given. Run {newer.pk} published them." in shown
    assert "They wait" not in shown


def test_options_name_the_first_of_thousands_of_targets() -> None:
    keys = [f"connection/{number}" for number in range(2000)]
    said = run_page.options_in_words(SyncRun(sync="github", options={"targets": keys}))
    assert said.startswith("instances connection/0, connection/1, ")
    assert said.endswith("connection/19 and 1,980 more")


def test_a_run_is_called_by_the_title_of_its_sync_wherever_it_is_named(
    admin_client: Client,
) -> None:
    run = SyncRun.objects.create(sync="user_routing", trigger=Trigger.COMMAND)
    shown = admin_client.get(page(run)).content.decode()
    assert f"run {run.pk} of E-mail routes" in shown
    assert "E-mail routes: has waited" in shown
    assert "of user_routing" not in shown
    answer = admin_client.post(f"{LIST}{run.pk}/cancel/", follow=True)
    assert f"Run {run.pk} of E-mail routes is cancelled" in text_of(answer)
    assert f"run {run.pk} of E-mail routes" in text_of(
        admin_client.get("/admin/activity/activity/")
    )
