"""Every page and action of the console, for everyone: with the permission it is
served, without it is denied, and a denial changes nothing and enqueues nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.urls import get_resolver
from django.utils import timezone

from activity.models import Activity
from alerts.models import Incident, Mute, Rule
from api import tokens
from common.encryption import Encrypted
from integrations.models import CatalogueModel, ExternalRecord
from rainbo.auth.roles import ROLES
from rainbo.models import Authenticator, RecoveryCodes
from syncs.dispatch import reconcile
from syncs.models import RunState, SyncRun, SyncSchedule, TargetState, Trigger
from syncs.schedules import store
from tenants.models import GhostUser, RdsInstance, SupportOptOut, Tenant, UserRoute
from tests.alerts.rows import channel, problem, see
from tests.integrations import rows as connections
from tests.rainbo.permissions import ACTIONS, NEVER, OPEN, PAGES, STAFF, Needs, Page
from tests.rows import ended_run, instance_row, run_part, staff, support_session

pytestmark = pytest.mark.django_db
PEOPLE = ("nobody", "staff", *ROLES, "superuser")
# Not part of what an action changes: sessions, and the record that a user was denied
SIGN_IN = "/admin/login/?next="
LED_TO = {"logout/": "/admin/"}
EXCEPT = ("activity", "django_session")
Subjects = dict[str, Any]


def addresses() -> Iterator[str]:
    """The pattern of every address below /admin/, as PAGES writes it."""

    def walk(patterns: Any, before: str) -> Iterator[str]:
        for pattern in patterns:
            here = f"{before}{pattern.pattern}"
            below = getattr(pattern, "url_patterns", None)
            yield from walk(below, here) if below is not None else [here]

    for found in walk(get_resolver().url_patterns, ""):
        if found.startswith("admin/"):
            yield re.sub(r"<app_label>[^)]*", "<app_label>…", found.removeprefix("admin/"))


@pytest.fixture
def subjects() -> Subjects:
    """A row of each kind, which nothing but a permission keeps from being changed."""
    home, idle = (instance_row(n, host="127.0.0.1", port=1) for n in (1, 2))
    reconcile.reconcile()
    subject = staff("subject")
    RecoveryCodes.objects.create(user=subject)
    Authenticator.objects.create(user=subject, secret=Encrypted("x"))
    schedule = SyncSchedule.objects.get(sync="user_routing")
    known = {"remote_id": "1", "name": "Acme", "status": "active"}
    key = {"email": "a@b.c", "email_key": "a@b.c", "remote_instance_id": "1", "on_master": False}
    there = {"remote_tenant_id": "1", "remote_user_id": "1", "changed_at": timezone.now()}
    return {
        "auth/user": subject,
        "auth/group": Group.objects.create(name="subject"),
        "tenants/rdsinstance": idle,
        "activity/activity": Activity.objects.create(actor="ann", action="person.signed_in"),
        "tenants/tenant": Tenant.objects.create(
            instance=home, cache_refreshed_at=timezone.now(), **known
        ),
        "tenants/supportsession": support_session(instance_id=home.pk),
        "closed tenant": closed_tenant(home),
        "tenants/userroute": UserRoute.objects.create(source_id="1", **key, **there),
        "tenants/ghostuser": GhostUser.objects.create(admin_id=1, instance=home, wanted="active"),
        "api/apitoken": tokens.create("program", ["syncs:read"], "ann").token,
        "syncs/syncrun": SyncRun.objects.create(sync="user_routing", trigger=Trigger.COMMAND),
        "syncs/syncschedule": schedule,
        "ended run": half_done(),
        **integrated(subject),
        **incidents(),
        "alerts/channel": channel(url="https://127.0.0.1:1/"),
        "alerts/rule": Rule.objects.get(name="late"),
    }


def incidents() -> dict[str, Incident]:
    """Two that are open, of which one is muted."""
    see(problem("instance/2/down"), problem("instance/3/down"))
    one, muted = Incident.objects.order_by("key")
    until = timezone.now() + timedelta(days=1)
    Mute.objects.create(key=muted.key, until=until, reason="to see", by="ann")
    return {"alerts/incident": one, "muted incident": muted}


def half_done() -> SyncRun:
    """A run that failed in part, and holds something for a person."""
    run = ended_run("tenant_summaries", RunState.PARTIAL)
    run_part(run, "1", state=TargetState.HELD, held_counts={"removed": 1})
    run_part(run, "2", state=TargetState.FAILED)
    return run


def integrated(owner: User) -> Subjects:
    """A connection that is paused and shared, and one of its records."""
    row = connections.connection(owner=owner, is_shared=True, pause_reason="to see")
    times = {"first_seen_at": timezone.now(), "changed_at": timezone.now()}
    one = ExternalRecord.objects.create(connection=row, kind="issue", external_id="1", **times)
    now = timezone.now()
    at = {"state_since": now, "first_seen_at": now, "priced_at": now}
    model = CatalogueModel.objects.create(connection=row, name="a/m", base_name="m", **at)
    return {
        "integrations/connection": row,
        "integrations/externalrecord": one,
        "integrations/cataloguemodel": model,
    }


def closed_tenant(home: RdsInstance) -> Tenant:
    """One that is marked do not enter."""
    known = {"remote_id": "2", "name": "Closed", "status": "active"}
    SupportOptOut.objects.create(instance_id=home.pk, tenant_id="2", reason="their wish", by="ann")
    return Tenant.objects.create(instance=home, cache_refreshed_at=timezone.now(), **known)


def who(name: str) -> User | None:
    if name == "nobody":
        return None
    user = staff("the person", is_superuser=name == "superuser")
    if name in ROLES:
        user.groups.add(Group.objects.get(name=name))
    return user


def path(address: str, page: Page, subjects: Subjects) -> str:
    """An address of the pattern that leads to a row that exists."""
    kind = page.row or "/".join(address.split("/")[:2])
    row = subjects[kind].pk if kind in subjects else "1"
    plain = address.strip("^$").replace("(?P<app_label>…)", "tenants")
    plain = plain.replace("(?P<url>.*)", "nowhere/")
    return "/admin/" + re.sub(r"<[^>]+>", str(row), plain)


def typed(page: Page, subjects: Subjects) -> dict[str, str]:
    seen = store.version(subjects["syncs/syncschedule"])
    return {name: value.format(seen=seen) for name, value in page.data.items()}


def may(needs: Needs, user: User) -> bool:
    if isinstance(needs, str):
        return user.has_perm(needs)
    return any(map(user.has_perm, needs)) if isinstance(needs, tuple) else needs in (OPEN, STAFF)


def answers(needs: Needs, page: Page, user: User | None) -> tuple[int, ...]:
    """The status codes that the row allows."""
    if user is None:
        return page.gives if needs is OPEN else (302,)
    if needs is NEVER:
        return (405,)
    return page.gives if may(needs, user) else (403,)


def everything() -> dict[str, str]:
    """A digest of every table that an action could change."""
    tables = [name for name in connection.introspection.table_names() if name not in EXCEPT]
    digests = " UNION ALL ".join(
        f"SELECT '{name}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) "
        f'FROM "{name}" AS t'
        for name in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(digests)
        return dict(cursor.fetchall())


class Visitor:
    """Sends requests as one person, and undoes what a POST did."""

    changed: set[str]  # the tables whose rows the last POST changed

    def __init__(self, user: User | None) -> None:
        self._client = Client(raise_request_exception=False)
        if user is not None:
            self._client.force_login(user)
        self._cookies = self._client.cookies.output(header="", sep=";")
        self._before = everything()

    def get(self, url: str) -> Any:
        return self._client.get(url)

    def post(self, url: str, data: Any) -> Any:
        self._client.cookies.clear()
        self._client.cookies.load(self._cookies)
        with transaction.atomic():
            answer = self._client.post(url, data)
            after = everything()
            transaction.set_rollback(True)
        self.changed = {name for name in after if after[name] != self._before[name]}
        return answer


def test_every_address_has_its_row_and_every_row_its_address() -> None:
    assert set(addresses()) == set(PAGES)


@pytest.mark.parametrize("name", PEOPLE)
def test_every_page_answers_each_person_as_its_row_says(name: str, subjects: Subjects) -> None:
    user = who(name)
    visitor, before = Visitor(user), everything()
    wrong: list[str] = []
    for address, page in PAGES.items():
        answer = visitor.get(path(address, page, subjects))
        wrong += complaints(address, page, page.get, user, answer)
    assert not wrong
    assert everything() == before, "looking changes nothing"


@pytest.mark.parametrize("name", PEOPLE)
def test_every_post_answers_each_person_as_its_row_says_and_a_refused_one_does_nothing(
    name: str, subjects: Subjects
) -> None:
    user, wrong = who(name), list[str]()
    visitor = Visitor(user)
    for address, page in PAGES.items():
        answer = visitor.post(path(address, page, subjects), typed(page, subjects))
        wrong += complaints(address, page, page.post, user, answer)
        if visitor.changed and page.post is not OPEN and (user is None or not may(page.post, user)):
            wrong.append(f"{address} was denied and changed {visitor.changed}")
    assert not wrong


def complaints(
    address: str, page: Page, needs: Needs, user: User | None, answer: Any
) -> Iterator[str]:
    wanted = answers(needs, page, user)
    if answer.status_code not in wanted:
        yield f"{address} gave {answer.status_code}, not {wanted}"
    led_to = answer.get("Location", "")
    if user is None and led_to and not led_to.startswith(LED_TO.get(address, SIGN_IN)):
        yield f"{address} leads nobody to {led_to}"


def test_what_is_posted_does_something_when_it_may(subjects: Subjects) -> None:
    """Else the denials above would prove nothing."""
    visitor, idle = Visitor(who("superuser")), list[str]()
    for address, page in PAGES.items():
        if page.acts and isinstance(page.post, str | tuple):
            visitor.post(path(address, page, subjects), typed(page, subjects))
            idle += [] if visitor.changed else [address]
    assert not idle


def test_every_action_on_rows_has_its_permission(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = staff("root", is_superuser=True)
    offered = {
        (model._meta.label_lower, action)
        for model, model_admin in admin.site._registry.items()
        for action in model_admin.get_actions(request)
    }
    assert offered == set(ACTIONS)


@pytest.mark.parametrize("name", PEOPLE[1:])
def test_actions_on_rows_do_nothing_for_who_may_not(name: str, subjects: Subjects) -> None:
    user = who(name)
    assert user is not None
    visitor, wrong = Visitor(user), list[str]()
    for (model, action), needs in ACTIONS.items():
        kind = model.replace(".", "/")
        data = {"action": action, "_selected_action": str(subjects[kind].pk), "post": "yes"}
        visitor.post(f"/admin/{kind}/", data)
        if bool(visitor.changed) != user.has_perm(needs):
            wrong.append(f"{action} of {model} changed {visitor.changed or 'nothing'}")
    assert not wrong
