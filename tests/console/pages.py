"""Every page of the console that a person looks at: a new address needs its row here.

tests/rainbo/permissions.py says which role sees which address; this table says how to get there,
and what a page may ask of a database with a million routes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from urllib.parse import quote

from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model, QuerySet

from activity.models import Activity
from alerts.models import Channel, Incident, Rule
from api.models import ApiToken
from common.encryption import Encrypted
from integrations.models import CatalogueModel, Connection, ExternalRecord
from rainbo.models import Authenticator
from syncs.models import RunState, SyncRun, SyncSchedule
from tenants.find import part_search
from tenants.models import GhostUser, RdsInstance, SupportSession, Tenant, UserRoute

Find = Callable[[], "QuerySet[Model]"]


class Who(Enum):
    """Who looks at a page."""

    ADMIN = "may do everything"
    GUEST = "is signed in, and may do nothing"
    DOUBTED = "has given the password, and not yet passed two-factor authentication"
    STRANGER = "is not signed in"

    def user(self) -> User | None:
        """That person, made again."""
        if self is Who.STRANGER:
            return None
        may_all = self is not Who.GUEST
        user = User.objects.create_user(self.name.lower(), is_staff=True, is_superuser=may_all)
        if self is Who.DOUBTED:
            Authenticator.objects.create(user=user, secret=Encrypted("x"))
        return user


@dataclass(frozen=True)
class Page:
    """address: its pattern in permissions.PAGES. of: the rows of which one is looked at.

    gives: its status code. queries: the most that it may ask, whatever the size of the fleet.
    reads: the most rows and index entries that these may touch.
    """

    room: str
    name: str
    address: str
    of: Find | None = None
    query: str = ""
    gives: int = 200
    who: Who = Who.ADMIN
    pictured: bool = False  # in docs/img
    queries: int = 34
    reads: int = 25_000
    parts: bool = False  # setup_part_search was run

    @property
    def slug(self) -> str:
        return re.sub(r"\W+", "-", self.name.lower()).strip("-")

    def url(self) -> str | None:
        """Where it is; None when the row that it is about is not there."""
        address = f"/admin/{self.address}".replace("<slug:service>", "github")
        if self.of is not None:
            row = self.of().first()
            if row is None:
                return None
            for field in ("<path:object_id>", "<int:pk>", "<id>"):
                address = address.replace(field, str(row.pk))
            return address + self.query.replace("<email>", quote(getattr(row, "email", "")))
        return f"{address}{self.query}"

    @contextmanager
    def as_set_up(self) -> Iterator[None]:
        """Look at it inside: with the indexes of parts of words, or without them, as it is to be.

        Outside of a transaction: they are created, and dropped again, by another session.
        """
        if not self.parts:
            yield
            return
        part_search.create()
        try:
            yield
        finally:
            part_search.remove()
            with connection.cursor() as cursor:
                cursor.execute("DROP EXTENSION pg_trgm")


def _runs(state: RunState) -> Find:
    return lambda: SyncRun.objects.filter(state=state).order_by("-id")


def _instances(health: str) -> Find:
    return lambda: RdsInstance.objects.filter(health=health).order_by("id")


def _routes() -> QuerySet[Model]:
    return UserRoute.objects.filter(withheld_reason=None).order_by("pk")


def _all(model: type[Model]) -> Find:
    return lambda: model._default_manager.order_by("pk")


def _models() -> Find:
    return lambda: CatalogueModel.objects.filter(name="openai/gpt-4o")


_found = partial(Page, "find", queries=30, reads=15_000)  # among a million routes
CHANGE = "<path:object_id>/change/"
RUN_FILTERS: Mapping[str, str] = {
    "sync": "sync=ghost_users",
    "state": "state=lost",
    "trigger": "trigger=api",
    "person": "actor=nobody",
    "instance": "instance=7",
    "dryness": "dry=only",
    "all, of each minute, too": "frequent=shown",
    "an error": "q=reached",
    "a name": "q=us-west",
    "days": "created_at_from=2026-01-01&created_at_to=2026-01-02",
    "all at once": "sync=user_routing&state=failed&trigger=schedule&instance=1&dry=no",
}
PAGES: tuple[Page, ...] = (
    Page("now", "Now", "", pictured=True, queries=15, reads=32_000),
    Page("now", "Sign in", "login/", who=Who.STRANGER, pictured=True),
    Page("now", "No such page", "nowhere/", gives=404),
    Page("now", "Now, without permissions", "", who=Who.GUEST),
    Page("now", "Permission denied", "tenants/tenant/", gives=403, who=Who.GUEST),
    Page("now", "Monitoring", "monitoring/", reads=36_000),
    Page("now", "Monitoring of a week", "monitoring/", query="?hours=168", reads=60_000),
    Page("fleet", "Instances", "tenants/rdsinstance/", pictured=True),
    Page("fleet", "Instances of a group", "tenants/rdsinstance/", query="?group=eu&label=gold"),
    Page("fleet", "Instance", f"tenants/rdsinstance/{CHANGE}", _instances("healthy")),
    Page(
        "fleet",
        "Instance that is down",
        f"tenants/rdsinstance/{CHANGE}",
        _instances("down"),
        pictured=True,
    ),
    Page(
        "fleet",
        "Settings of an instance",
        "tenants/rdsinstance/<int:pk>/settings/",
        _instances("healthy"),
    ),
    Page("fleet", "New instance", "tenants/rdsinstance/add/"),
    Page("fleet", "Disabling", "tenants/rdsinstance/<int:pk>/disable/", _instances("degraded")),
    Page("fleet", "Enabling", "tenants/rdsinstance/<int:pk>/enable/", _instances("degraded")),
    Page(
        "fleet",
        "Deleting an instance",
        "tenants/rdsinstance/<path:object_id>/delete/",
        _instances("unknown"),
    ),
    Page("integrations", "Models", "integrations/cataloguemodel/"),
    Page(
        "integrations",
        "Models, searched",
        "integrations/cataloguemodel/",
        query="?q=gpt-4o",
        reads=45_000,  # a part of a name is in no index: all are read, to count and to show
    ),
    Page("integrations", "Model", f"integrations/cataloguemodel/{CHANGE}", _models()),
    Page("tenants", "Tenants", "tenants/tenant/", pictured=True),
    Page("tenants", "Tenants, searched", "tenants/tenant/", query="?q=kestrel"),
    Page("tenants", "Tenants, none found", "tenants/tenant/", query="?q=nobody&fresh=stale"),
    Page("tenants", "Tenants whose trial ends", "tenants/tenant/", query="?trial=7"),
    Page("tenants", "Trials that ended", "tenants/tenant/", query="?trial=ended"),
    Page("tenants", "Tenants without activity", "tenants/tenant/", query="?activity=quiet30"),
    Page("tenants", "Tenants by name", "tenants/tenant/", query="?o=0"),
    Page("tenants", "Tenants by users", "tenants/tenant/", query="?o=-4"),
    Page("tenants", "Tenants that vanished", "tenants/tenant/", query="?vanished=yes"),
    Page("tenants", "Tenants of a status", "tenants/tenant/", query="?status=suspended"),
    Page("tenants", "Tenant", f"tenants/tenant/{CHANGE}", _all(Tenant), pictured=True),
    _found("Find", "find/"),
    _found("An e-mail found", "find/", _routes, "?q=<email>", pictured=True),
    _found("An e-mail not found", "find/", query="?q=nobody%40nowhere.example"),
    _found("Found by beginning", "find/", query="?q=malik"),
    _found("Found by a letter", "find/", query="?q=m", reads=25_000),
    _found("Found by a frequent word", "find/", query="?q=dental+c"),
    # An index of words finds all that have one before the first is shown.
    _found("Found by a surname", "find/", query="?q=smith", reads=25_000),
    _found("Found by two words", "find/", query="?q=meyer+a"),
    _found("Found by one wrong letter", "find/", query="?q=meyre", reads=25_000),
    _found("An e-mail that is misspelt", "find/", _routes, "?q=x<email>"),
    _found("Found by an instance's name", "find/", query="?q=us-west"),
    _found("Found by a tenant's id", "find/", query="?q=7"),
    _found("Found by instance and id", "find/", query="?q=2%3A7"),
    # Both tables are also asked for parts, and for the most similar.
    _found(
        "Found by parts of words", "find/", query="?q=alik", parts=True, queries=34, reads=25_000
    ),
    _found("Found by two wrong letters", "find/", query="?q=jonathon+smyhte", parts=True),
    _found("No part found", "find/", query="?q=zzzqqq", parts=True, queries=34),
    _found("Nothing found", "find/", query="?q=zzz%25"),
    Page("tenants", "Routes", "tenants/userroute/"),
    Page("tenants", "Routes, searched", "tenants/userroute/", query="?q=malik"),
    Page("tenants", "Routes, none found", "tenants/userroute/", query="?q=nobody%40nowhere"),
    Page("tenants", "Routes, withheld", "tenants/userroute/", query="?readers=withheld"),
    Page("tenants", "Route", f"tenants/userroute/{CHANGE}", _all(UserRoute)),
    Page("tenants", "Entering a tenant", "tenants/tenant/<int:pk>/enter/", _all(Tenant), gives=302),
    Page("tenants", "Support access", "tenants/supportsession/"),
    Page("tenants", "Support session", f"tenants/supportsession/{CHANGE}", _all(SupportSession)),
    Page("tenants", "Ghosts", "tenants/ghostuser/", pictured=True),
    Page("tenants", "Ghosts one by one", "tenants/ghostuser/all/"),
    Page("tenants", "Ghost", f"tenants/ghostuser/{CHANGE}", _all(GhostUser)),
    # Ten thousand runs are counted, among four times as many of each minute.
    Page("syncs", "Runs", "syncs/syncrun/", pictured=True, reads=60_000),
    *(
        Page("syncs", f"Runs by {by}", "syncs/syncrun/", query=f"?{query}")
        for by, query in RUN_FILTERS.items()
    ),
    Page("syncs", "Run", f"syncs/syncrun/{CHANGE}", _runs(RunState.SUCCEEDED)),
    Page(
        "syncs",
        "Held run",
        f"syncs/syncrun/{CHANGE}",
        _runs(RunState.HELD),
        pictured=True,
        reads=1_000,
    ),
    Page("syncs", "Partial run", f"syncs/syncrun/{CHANGE}", _runs(RunState.PARTIAL), pictured=True),
    Page("syncs", "Failed run", f"syncs/syncrun/{CHANGE}", _runs(RunState.FAILED)),
    Page("syncs", "Schedules", "syncs/syncschedule/", pictured=True),
    Page("syncs", "Schedule", f"syncs/syncschedule/{CHANGE}", _all(SyncSchedule), pictured=True),
    Page("alerts", "Incidents", "alerts/incident/"),
    Page("alerts", "Incidents, muted", "alerts/incident/", query="?state=muted"),
    Page("alerts", "Incidents, resolved", "alerts/incident/", query="?state=history"),
    Page("alerts", "Incidents, all", "alerts/incident/", query="?state=all"),
    Page("alerts", "Incident", f"alerts/incident/{CHANGE}", _all(Incident)),
    Page("alerts", "Channels", "alerts/channel/"),
    Page("alerts", "Channel", f"alerts/channel/{CHANGE}", _all(Channel)),
    Page("alerts", "New channel", "alerts/channel/add/"),
    Page("alerts", "New e-mail channel", "alerts/channel/add/", query="?kind=email"),
    Page("alerts", "New webhook", "alerts/channel/add/", query="?kind=webhook"),
    Page("alerts", "New channel of Apprise", "alerts/channel/add/", query="?kind=apprise"),
    Page("alerts", "Deleting a channel", "alerts/channel/<path:object_id>/delete/", _all(Channel)),
    Page("alerts", "Rules", "alerts/rule/"),
    Page("alerts", "Rule", f"alerts/rule/{CHANGE}", _all(Rule)),
    Page("integrations", "Connections", "integrations/connection/"),
    Page("integrations", "Connections, searched", "integrations/connection/", query="?q=work"),
    Page("integrations", "Connection", f"integrations/connection/{CHANGE}", _all(Connection)),
    Page("integrations", "New connection", "integrations/connection/add/"),
    Page("integrations", "Connecting", "integrations/connection/connect/<slug:service>/"),
    Page(
        "integrations",
        "Connecting again",
        "integrations/connection/<int:pk>/connect/",
        _all(Connection),
    ),
    Page(
        "integrations",
        "Deleting a connection",
        "integrations/connection/<path:object_id>/delete/",
        _all(Connection),
    ),
    Page("integrations", "Records", "integrations/externalrecord/"),
    Page("integrations", "Record", f"integrations/externalrecord/{CHANGE}", _all(ExternalRecord)),
    Page("people", "Users", "auth/user/"),
    Page("people", "User", f"auth/user/{CHANGE}", _all(User)),
    Page("people", "New user", "auth/user/add/"),
    Page("people", "Another's password", "auth/user/<id>/password/", _all(User)),
    Page("people", "Deleting a user", "auth/user/<path:object_id>/delete/", _all(User)),
    Page("people", "Groups", "auth/group/"),
    Page("people", "Group", f"auth/group/{CHANGE}", _all(Group)),
    Page("people", "New group", "auth/group/add/"),
    Page("people", "Deleting a group", "auth/group/<path:object_id>/delete/", _all(Group)),
    Page("people", "API tokens", "api/apitoken/"),
    Page("people", "API token", f"api/apitoken/{CHANGE}", _all(ApiToken)),
    Page("people", "New API token", "api/apitoken/add/"),
    Page("people", "Activity", "activity/activity/", pictured=True),
    Page("people", "What somebody did", f"activity/activity/{CHANGE}", _all(Activity)),
    Page("people", "Own password", "password_change/"),
    Page("people", "Own two-factor authentication", "second-factor/"),
    Page("people", "Two-factor authentication, new", "second-factor/enrol/"),
    Page("people", "Two-factor authentication, asked", "second-factor/code/", who=Who.DOUBTED),
)
ROOMS = tuple(dict.fromkeys(page.room for page in PAGES))
# Addresses that show nothing of their own, and why.
UNSEEN: Mapping[str, str] = {
    "now/": "a part of the first page",
    "syncs/syncrun/<int:pk>/live/": "a part of a run's page",
    "search/": "the theme's palette, which no page shows",
    "jsi18n/": "a script",
    "r/<path:content_type_id>/<path:object_id>/": "leads elsewhere",
    "^(?P<app_label>…)/$": "the theme's list of an app: nothing leads there",
    "(?P<url>.*)$": "any other address: No such page",
    "integrations/connection/callback/<slug:service>/": "leads to a connection",
    "password_change/done/": "leads to the first page",
}
