"""The console's page that answers where an e-mail lives."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from activity.models import Activity
from localfleet.demo.manage_command import words_of
from syncs.models import Confirmation
from tenants.fleet.live_limit import live_slot
from tenants.models import RdsInstance, RouteRemoval, Tenant, UserRoute
from tests.caches import register, run_sync
from tests.instances import InstanceFleet
from tests.pages import text_of
from tests.rows import confirmation, instance_row, staff

PAGE, LIST, MAIL = "/admin/find/", "/admin/tenants/userroute/", "ann@example.com"


def find(client: Client, query: str) -> str:
    return text_of(client.get(PAGE, {"q": query}))


def ask(client: Client, query: str = MAIL) -> str:
    return text_of(client.post(PAGE, query_params={"q": query}))


@pytest.fixture
def directory(fleet: InstanceFleet, transactional_db: None) -> InstanceFleet:
    """Ann has an account on the master itself and on instance 2; both tenants are known."""
    for instance in fleet.instances:
        register(instance)
    fleet.master.add_tenant(7, "Acme")
    fleet[2].add_tenant(8, "Beacon Opticians", status="trial")
    fleet.master.add_route(1, "Ann@Example.com", 7, user_id=70, user_name="Ann")
    fleet.master.add_route(2, MAIL, 8, 2, user_id=80, user_name="Ann")
    fleet.master.add_user(70, 7, "Ann@Example.com", name="Ann")
    fleet[2].add_user(80, 8, MAIL, name="Ann")
    run_sync("user_routing")
    run_sync("tenant_summaries")
    return fleet


def test_every_account_is_shown_with_its_links(
    directory: InstanceFleet, admin_client: Client
) -> None:
    page = admin_client.get(PAGE, {"q": " ANN@example.com "})
    shown, html = text_of(page), page.content.decode()
    assert "ANN@example.com : 2 accounts in 2 tenants on 2 instances." in shown
    assert "on time Routes as the master's directory had them 2" in shown
    for tenant in Tenant.objects.all():
        assert f'href="/admin/tenants/tenant/{tenant.pk}/change/">{tenant.name}</a>' in html
    assert 'href="/admin/tenants/rdsinstance/2/change/">instance 2 (rds2)</a>' in html
    assert 'href="/admin/syncs/syncrun/?sync=user_routing"' in html
    assert "python manage.py find_user --live ANN@example.com" in shown
    assert "Reads the master and 2 instances, and writes nothing there" in shown


def test_the_page_the_command_and_the_list_agree(
    directory: InstanceFleet, admin_client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    UserRoute.objects.filter(source_id="1").update(withheld_reason="policy")
    call_command("find_user", MAIL)
    output = capsys.readouterr().out
    page, listed = (text_of(admin_client.get(u, {"q": MAIL})) for u in (PAGE, LIST))
    assert "1 account (" in output
    assert "1 account in 1 tenant on 1 instance." in page
    for text in (output, page, listed):
        assert "Beacon Opticians" in text
        assert "policy" in text
        assert "withheld" in text.lower()


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["ann", "ann@example.com", "zoë", "a_n%", "\\"])
def test_the_list_with_a_star_finds_what_begins_so(admin_client: Client, query: str) -> None:
    for number, email in enumerate(["ann@example.com", "anna@example.com", "Zoe\u0308@b.c", "a\\"]):
        UserRoute.objects.create(
            source_id=str(number),
            email=email,
            email_key=email.lower() if email.isascii() else "zo\u00eb@b.c",
            remote_instance_id="1",
            on_master=True,
            remote_tenant_id="1",
            remote_user_id="1",
            changed_at=timezone.now(),
        )
    found = admin_client.get(PAGE, {"q": query})
    kinds = {kind.key: kind for kind in found.context["kinds"]}
    begin = [re.sub("<[^>]*>", "", row[0][1]) for row in kinds["begin"].rows] if kinds else []
    exact = [found.context["term"]] if found.context["accounts"].rows else []
    listed = admin_client.get(LIST, {"q": f"{query}*"}).context["results"]
    assert len(listed) == len(exact + begin)


def test_near_misses_come_before_the_live_look_up(
    directory: InstanceFleet, admin_client: Client
) -> None:
    """Of an e-mail that is found, the live look-up follows it."""
    shown = find(admin_client, "ann@exampel.com")
    assert 0 < shown.index("Beacon Opticians") < shown.index("Look up live")
    assert shown.count("Look up live") == find(admin_client, MAIL).count("Look up live") == 1


def test_why_it_is_not_found(directory: InstanceFleet, admin_client: Client) -> None:
    assert "nobody@x.y : No account." in find(admin_client, "nobody@x.y")
    assert "No sync has ever seen it." in find(admin_client, "nobody@x.y")
    directory.master.execute("DELETE FROM user_email_routing WHERE id = 2")
    UserRoute.objects.filter(source_id="1").delete()
    run_sync("user_routing")
    UserRoute.objects.all().delete()
    removal = RouteRemoval.objects.get()
    page = admin_client.get(PAGE, {"q": MAIL})
    assert "It was removed at " in text_of(page)
    assert f'href="/admin/syncs/syncrun/{removal.run_id}/change/">run {removal.run_id}</a>' in (
        page.content.decode()
    )


def test_a_stale_cache_says_why(directory: InstanceFleet, admin_client: Client) -> None:
    Confirmation.objects.update(at=timezone.now() - timedelta(hours=5))
    shown = find(admin_client, MAIL)
    assert "stale Routes as the master's directory had them" in shown
    assert "(5 h ago)" in shown
    assert "Overdue: no run has confirmed it since its scheduled time." in shown


def test_the_fleet_is_asked_and_agrees(directory: InstanceFleet, admin_client: Client) -> None:
    shown = ask(admin_client)
    assert "2 accounts are the same everywhere." in shown
    assert "Tenant 7 “Acme” on instance 1 (rds1) the same Field by field: 8 Row 1 of" in shown
    assert "last sign-in not kept not kept unknown –" in shown
    entry = Activity.objects.get(action="email.looked_up_live")
    assert (entry.actor, entry.subject) == ("admin", MAIL)
    assert entry.after == {
        "asked": ["the master", "instance 1 (rds1)", "instance 2 (rds2)"],
        "accounts on the master": 2,
        "accounts on instances": 2,
        "without an answer": [],
    }


def test_differences_stand_side_by_side(directory: InstanceFleet, admin_client: Client) -> None:
    directory.master.execute("UPDATE user_email_routing SET status = 'Blocked' WHERE id = 2")
    directory[2].execute("UPDATE users SET name = 'Anna' WHERE id = 80")
    shown = ask(admin_client)
    assert "1 of 2 accounts differs." in shown
    assert "field in the cache on the master on instance 2 (rds2) compared" in shown
    assert "name Ann Ann Anna differs" in shown
    assert shown.index("status Active Blocked Active differs") < shown.index("The other fields: 6")
    assert "status Active Blocked Active differs" in shown
    assert "Status is Active in the cache and Blocked on the master." in shown


def test_nothing_is_the_same_without_the_master(
    directory: InstanceFleet, admin_client: Client
) -> None:
    directory.master.server.stop()
    page = admin_client.post(f"{PAGE}?q={MAIL}")
    live = page.context["live"]
    assert live.summary == "2 accounts are unknown."
    assert all("badge-quiet" in account.state for account in live.accounts)


def test_what_differs_comes_first_and_the_rest_is_cut(
    directory: InstanceFleet, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.admin.find.live_view.MOST", 1)
    directory[2].execute("UPDATE users SET name = 'Anna' WHERE id = 80")
    shown = ask(admin_client)
    assert "Tenant 8 “Beacon Opticians” on instance 2 (rds2) differs" in shown
    assert "Tenant 7" not in shown
    assert "1 more are not shown. To see all, run python manage.py find_user --live" in shown
    assert "--json ann@example.com" in shown


def test_what_only_the_fleet_has_is_found(directory: InstanceFleet, admin_client: Client) -> None:
    directory.master.add_route(3, "new@example.com", 7, user_id=71)
    shown = ask(admin_client, "new@example.com")
    assert "No account in the cache, but found live." in shown
    assert "Row 3, tenant 7 on instance 1 (rds1) is on the master only." in shown
    assert "No account there either." in ask(admin_client, "eve@example.com")


def test_an_instance_that_is_down_is_told(directory: InstanceFleet, admin_client: Client) -> None:
    directory[2].server.stop()
    shown = ask(admin_client)
    assert "1 of 2 accounts is the same; 1 is unknown." in shown
    assert "Tenant 7 “Acme” on instance 1 (rds1) the same Field" in shown
    assert "on instance 2 (rds2) unknown: instance 2 (rds2) did not answer Field" in shown
    assert shown.index("Tenant 8") < shown.index("Tenant 7 “Acme” on instance 1 (rds1) the same")
    assert "Instance 2 (rds2) can't be queried: it refused the connection at " in shown
    assert "did not answer" in shown


@pytest.mark.django_db
def test_few_may_wait_for_servers_at_once(admin_client: Client) -> None:
    instance_row(1, is_master=True, host="127.0.0.1", port=1)
    confirmation()
    with live_slot(), live_slot():
        shown = ask(admin_client)
    assert "Too many live queries are running: nothing was queried" in shown
    assert "No account." in shown
    assert not Activity.objects.filter(action="email.looked_up_live").exists()
    assert "The master can't be queried" in ask(admin_client)


@pytest.mark.django_db
def test_looking_asks_no_server_and_is_no_action(admin_client: Client) -> None:
    instance_row(1, is_master=True, host="192.0.2.1")
    find(admin_client, MAIL)
    assert not Activity.objects.exclude(action="person.signed_in").exists()
    assert "can't be queried" not in find(admin_client, MAIL)


@pytest.mark.django_db
def test_an_empty_question_says_what_can_be_asked(admin_client: Client) -> None:
    confirmation()
    for query in ("", "   "):
        assert "What you can find" in find(admin_client, query)
    assert "What you can find" in ask(admin_client, "")
    assert not Activity.objects.filter(action="email.looked_up_live").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("a\0b", "Give an e-mail without line breaks and control characters."),
        ("x" * 10_000, "No e-mail and no name is longer than 1,000 characters."),
        ("%_\\", "%_\\ : No account."),
        ("'; DROP TABLE user_routes; --", "No account."),
        ("\u212aim@example.com", "“\u212a” KELVIN SIGN"),
        ("-1:99999999999999999999", "No account."),
        ("999999999:1", "No account."),
        ("&|!:*()", "No account."),
    ],
)
def test_hostile_questions_are_answered(admin_client: Client, query: str, said: str) -> None:
    assert said in find(admin_client, query)
    assert admin_client.post(PAGE, query_params={"q": query}).status_code == 200


@pytest.mark.django_db
def test_where_a_page_is_got_its_head_is_too(admin_client: Client) -> None:
    instance_row(2)
    switch = "/admin/tenants/rdsinstance/2/disable/"
    for page in (PAGE, switch, "/admin/second-factor/", "/admin/second-factor/enrol/"):
        answer = admin_client.head(page)
        assert (answer.status_code, answer.content) == (admin_client.get(page).status_code, b"")
    assert RdsInstance.objects.get(pk=2).is_active


@pytest.mark.django_db
def test_an_error_keeps_what_was_typed(admin_client: Client) -> None:
    page = admin_client.get(PAGE, {"q": "ann\u200b@b.c"})
    assert "Give an e-mail without line breaks" in text_of(page)
    assert 'name="q" value="ann\u200b@b.c"' in page.content.decode()


@pytest.mark.django_db
def test_the_fleet_is_asked_for_what_was_found(admin_client: Client) -> None:
    html = admin_client.get(PAGE, {"q": "Ann <ann@b.c>,"}).content.decode()
    assert 'action="?q=ann%40b.c#live"' in html


@pytest.mark.django_db
@pytest.mark.parametrize("manage", ['make manage CMD="{}"', "x python manage.py '{}'"])
@pytest.mark.parametrize(
    "email", ["$(touch ran)@b.c", "`touch ran`@b.c", "o'b\"r\\n$HOME@b.c", "a!b@b.c", "-rf@b.c"]
)
def test_the_command_is_safe_to_paste(
    admin_client: Client, settings: Any, tmp_path: Path, manage: str, email: str
) -> None:
    settings.RAINBO_MANAGE_COMMAND = manage
    command = admin_client.get(PAGE, {"q": email}).context["live_command"]
    script = f'make() {{ printf %s "${{2#CMD=}}"; }}; x() {{ printf %s "$3"; }}; {command}'
    done = run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    options = ["--"] if email.startswith("-") else []
    assert words_of(done.stdout) == ["find_user", "--live", *options, email]
    assert shlex.split(done.stdout)[-1] == email
    assert not list(tmp_path.iterdir())


@pytest.mark.django_db
def test_names_and_questions_are_text_and_never_markup(admin_client: Client) -> None:
    instance_row(1)
    evil = "<script>alert(1)</script>"
    Tenant.objects.create(
        instance_id=1, remote_id='"><b>', name=f"{evil} Ltd", cache_refreshed_at=timezone.now()
    )
    UserRoute.objects.create(
        source_id="1",
        email=f"{evil}@example.com",
        email_key=f"{evil}@example.com",
        remote_instance_id='1"><i>',
        on_master=False,
        remote_tenant_id="<u>",
        remote_user_id="1",
        user_name=evil,
        status=evil,
        withheld_reason=evil,
        changed_at=timezone.now(),
    )
    for query in (evil, f"{evil}@example.com"):
        html = admin_client.get(PAGE, {"q": query}).content.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
        for tag in (evil, '"><b>', '"><i>', "<u>"):
            assert tag not in html


@pytest.mark.django_db
def test_what_one_may_not_see_is_not_linked(client: Client) -> None:
    instance_row(1)
    tenant = Tenant.objects.create(
        instance_id=1, remote_id="5", name="Acme", cache_refreshed_at=timezone.now()
    )
    UserRoute.objects.create(
        source_id="1",
        email=MAIL,
        email_key=MAIL,
        remote_instance_id="1",
        on_master=True,
        remote_tenant_id="5",
        remote_user_id="9",
        changed_at=timezone.now(),
    )
    user = staff()
    user.user_permissions.add(Permission.objects.get(codename="view_userroute"))
    client.force_login(user)
    html = client.get(PAGE, {"q": MAIL}).content.decode()
    assert "Acme" in html
    for address in (f"tenant/{tenant.pk}/", "rdsinstance/1/", "syncrun/"):
        assert address not in html
    assert "Tenants:" not in find(client, "acme")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("role", "may", "may_ask"),
    [
        ("support_admin", True, True),
        ("billing_admin", True, False),
        ("read_only", True, False),
        (None, False, False),
    ],
)
def test_who_may_view_routes_may_find(
    client: Client, role: str | None, may: bool, may_ask: bool
) -> None:
    user = staff()
    if role:
        user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    found = client.get(PAGE, {"q": MAIL})
    assert (found.status_code, client.post(PAGE).status_code) == (
        200 if may else 403,
        200 if may_ask else 403,
    )
    assert (b"Look up live" in found.content) == may_ask
    home = client.get("/admin/").content.decode()
    assert ('href="/admin/find/"' in home) == may
    assert ("data-find" in home) == may


@pytest.mark.django_db
def test_an_email_with_very_many_accounts_is_cut(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.admin.find.views.MOST", 2)
    for number in range(3):
        UserRoute.objects.create(
            source_id=str(number),
            email=MAIL,
            email_key=MAIL,
            remote_instance_id="1",
            on_master=True,
            remote_tenant_id=str(number),
            remote_user_id="9",
            changed_at=timezone.now(),
        )
    page = admin_client.get(PAGE, {"q": MAIL})
    assert "3 accounts in 3 tenants" in text_of(page)
    assert "1 more in the list of routes" in text_of(page)
    assert len(page.context["accounts"].rows) == 2


def test_the_master_out_of_use_is_told(directory: InstanceFleet, admin_client: Client) -> None:
    RdsInstance.objects.filter(pk=1).update(is_active=False)
    shown: Any = ask(admin_client)
    assert "The master can't be queried: instance 1 (rds1) is the master but is not active" in shown
