"""A world for each service: its server, what can happen there, and what should be stored then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any
from urllib.parse import quote

from django.contrib.auth import get_user_model
from django.utils import timezone

from integrations import registration
from integrations.models import Connection
from integrations.registration import ConnectionInput
from localfleet.services import bakalari, github, google_calendar, llm_models, notion, slack
from localfleet.services.server import Reply, running
from tests.integrations.oauth import at_server, credentials, granted
from tests.integrations.rows import connection

SCOPES = (
    "https://www.googleapis.com/auth/calendar.events.readonly",
    "https://www.googleapis.com/auth/calendar.calendarlist.readonly",
)
Expected = dict[tuple[str, str], str]


class World:
    """service: the plugin's name. Each world is a subclass, listed in WORLDS."""

    service: str
    server: Any

    def connect(self) -> Connection:
        raise NotImplementedError

    def fill(self) -> None:
        """Put some of everything there."""
        raise NotImplementedError

    def happen(self, random: Random) -> None:
        """Let one thing change at the service, or go wrong with the next request."""
        raise NotImplementedError

    def expected(self) -> Expected:
        """Titles of what is there, by kind and id."""
        raise NotImplementedError

    def expire(self, row: Connection) -> None:
        """Make the next run read all that is listed in full only now and then."""
        raise NotImplementedError

    def repair(self, row: Connection) -> None:
        """A person connects it again."""
        Connection.objects.filter(pk=row.pk).update(reconnect_since=None)

    def split(self, size: int) -> None:
        """Answer in pages of so many rows."""
        self.server.page = size

    def wait(self) -> None:
        """The time passes that the service asked to wait."""


class GitHubWorld(World):
    service = "github"

    def __init__(self, server: github.GitHub) -> None:
        self.server = server

    def connect(self) -> Connection:
        name = f"mine {Connection.objects.count()}"
        return connection(self.server.url, name=name)

    def fill(self) -> None:
        for number in range(3):
            self.server.add_repository(f"r{number}")
            self.server.add_issue(f"i{number}", pull=number == 1)
        self.server.add_notification("n")

    def happen(self, random: Random) -> None:
        server = self.server
        count = len(server.asked) + server._changes
        match random.choice(("repository", "issue", "pull", "edit", "delete", "move", "fault")):
            case "repository":
                server.add_repository(f"r{count}")
            case "issue":
                server.add_issue(f"i{count}")
            case "pull":
                server.add_issue(f"p{count}", pull=True)
            case "edit" if server.issues:
                server.edit(random.choice(server.issues), title=f"e{count}")
            case "delete" if len(server.issues) > 1:
                server.issues.remove(random.choice(server.issues))
            case "move" if len(server.repositories) > 1:
                server.repositories.remove(random.choice(server.repositories))
            case "fault":
                server.faults.append(random.choice(FAULTS))

    def expected(self) -> Expected:
        rows: Expected = {("repository", str(r["id"])): r["full_name"] for r in self.repositories}
        for issue in self.server.issues:
            kind = "pull_request" if "pull_request" in issue else "issue"
            rows[kind, str(issue["id"])] = issue["title"]
        for one in self.server.notifications:
            rows["notification", one["id"]] = one["subject"]["title"]
        return rows

    @property
    def repositories(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.server.repositories
        return found

    def expire(self, row: Connection) -> None:
        row.refresh_from_db()
        long_ago = (timezone.now() - timedelta(days=2)).isoformat()
        Connection.objects.filter(pk=row.pk).update(
            cursor={**(row.cursor or {}), "full_at": long_ago}
        )


class BakalariWorld(World):
    service = "bakalari"

    def __init__(self, server: bakalari.Bakalari) -> None:
        self.server = server

    def connect(self) -> Connection:
        people = get_user_model().objects
        owner = people.get_or_create(username="ann", defaults={"is_staff": True})[0]
        name = f"school {Connection.objects.count()}"
        return registration.add(
            ConnectionInput(
                service="bakalari",
                name=name,
                owner=owner,
                token=self.server.password,
                account=self.server.user,
                base_url=self.server.url,
            )
        )

    def fill(self) -> None:
        for number in range(3):
            self.server.add_mark("Maths", str(number + 1), 5)
        self.server.add_absence("2026-03-03", 4)
        self.server.days = {"2026-03-02": ["Maths", "Czech"], "2026-03-03": ["Art"]}

    def happen(self, random: Random) -> None:
        server = self.server
        match random.choice(("mark", "edit", "delete", "absence", "lesson", "expire", "fault")):
            case "mark":
                server.add_mark(random.choice(("Maths", "Czech")), "1")
            case "edit":
                random.choice(server.marks)["MarkText"] = random.choice("12345")
            case "delete" if len(server.marks) > 1:
                server.marks.remove(random.choice(server.marks))
            case "absence":
                day = 4 + len(server.absences)
                server.add_absence(f"2026-03-{day:02}", 1)
            case "lesson":
                server.days["2026-03-02"] = random.sample(["Maths", "Czech", "Art", "PE"], 2)
            case "expire":
                server._access.clear()
            case "fault":
                server.faults.append(random.choice(FAULTS))

    def expected(self) -> Expected:
        server = self.server
        rows: Expected = {
            ("mark", m["Id"]): f"{m['subject']}: {m['MarkText'].strip()}" for m in server.marks
        }
        for day in server.absences:
            rows["absence", day["Date"][:10]] = day["Date"][:10]
        for date, lessons in server.days.items():
            for number, name in enumerate(lessons, 2):
                rows["lesson", f"{date}/{number}/1"] = name
        return rows

    def expire(self, row: Connection) -> None:
        """All is always read."""

    def split(self, size: int) -> None:
        """There are no pages."""

    def repair(self, row: Connection) -> None:
        registration.reconnect(row, self.server.password)


class GoogleWorld(World):
    service = "google_calendar"

    def __init__(self, server: google_calendar.GoogleCalendar) -> None:
        self.server = server

    def connect(self) -> Connection:
        """With a pair of tokens, as if the person had just allowed it."""
        pair = self.server.apps.grant("client-1", SCOPES)
        name = f"mine {Connection.objects.count()}"
        return granted("google_calendar", f"{self.server.url}/calendar/v3", pair, name=name)

    def fill(self) -> None:
        server = self.server
        other = server.add_calendar("team@group.calendar.google.com")
        for number in range(3):
            server.add_event(server.person, f"e{number}")
        weekly = server.add_event(other, "weekly", recurrence=["RRULE:FREQ=WEEKLY"])
        server.add_exception(other, weekly, 7, summary="later")
        server.cancel_instance(other, weekly, 14)
        server.gaps = True

    def happen(self, random: Random) -> None:
        random.choice((self._an_event, self._an_event, self._a_calendar, self._trouble))(random)

    def _an_event(self, random: Random) -> None:
        server = self.server
        calendar = random.choice(server.shown())
        rows = server.present(calendar)
        row = random.choice(rows) if rows else {"recurringEventId": None}
        is_own, number = "recurringEventId" not in row, len(server.asked)
        match random.choice(("add", "series", "edit", "delete", "delete", "cancel")):
            case "add":
                server.add_event(calendar, f"a{number}", location="here")
            case "series":
                made = server.add_event(calendar, "s", recurrence=["RRULE:FREQ=DAILY"])
                server.add_exception(calendar, made, random.randint(1, 9), summary="other")
            case "edit" if is_own:
                server.edit(calendar, row, summary=f"x{number}")
            case "delete" if is_own:
                server.delete(calendar, row)
            case "cancel" if "recurrence" in row:
                server.cancel_instance(calendar, row, random.randint(1, 9))

    def _a_calendar(self, random: Random) -> None:
        server, shown = self.server, self.server.shown()
        match random.choice(("add", "leave", "hide")):
            case "add":
                server.add_calendar(random.choice(("team@group.calendar.google.com", "new#1")))
            case "leave" if len(shown) > 1:
                server.remove_calendar(shown[-1])
            case "hide" if len(shown) > 1:
                server.add_calendar(shown[-1], hidden=True)

    def _trouble(self, random: Random) -> None:
        server = self.server
        match random.choice(("expire", "token", "fault", "gaps")):
            case "expire":
                server.expire_sync_tokens()
            case "token":
                server.apps.clock += 3600  # the access token is no longer valid
            case "gaps":
                server.gaps = not server.gaps
            case "fault":
                server.faults.append(random.choice(FAULTS))

    def expected(self) -> Expected:
        server = self.server
        rows: Expected = {}
        for calendar in server.shown():
            rows["calendar", calendar] = server.calendars.rows[calendar][1]["summary"]
            for row in server.present(calendar):
                key = f"{quote(calendar, safe='@')}/{row['id']}"
                rows["event", key] = row.get("summary", "cancelled")
        return rows

    def expire(self, row: Connection) -> None:
        self.server.expire_sync_tokens()

    def repair(self, row: Connection) -> None:
        pair = self.server.apps.grant("client-1", SCOPES)
        row.reconnect(credentials(pair))


class CatalogueWorld(World):
    """Models as one of the shapes of catalogues has them. path: of that shape."""

    service = "llm_models"

    def __init__(self, server: llm_models.LlmModels, path: str) -> None:
        self.server = server
        self.path = path

    def connect(self) -> Connection:
        name = f"catalogue {Connection.objects.count()}"
        url = f"{self.server.url}{self.path}"
        return connection(url, service=self.service, name=name, update_frequency_minutes=360)

    def fill(self) -> None:
        self.server.models = llm_models.odd_models()

    def happen(self, random: Random) -> None:
        server = self.server
        count = len(server.asked) + len(server.models)
        one = random.choice(server.models)
        match random.choice(("model", "price", "unknown", "delete", "fault")):
            case "model":
                server.add(f"new/m{count}-{random.randrange(10**9)}", input="0.15")
            case "price" if one.input not in (None, "-1"):
                price = Decimal(one.input or 0) * random.choice((2, 3)) + Decimal("0.01")
                server.change(one.name, input=str(price))
            case "unknown":
                server.change(one.name, output=random.choice((None, "-1", "0")))
            case "delete" if len(server.models) > 1:
                server.remove(one.name)
            case "fault":
                server.faults.append(random.choice(FAULTS))

    def expected(self) -> Expected:
        rows: Expected = {}
        for one in self.server.models:
            title = f"{one.provider}: {one.name}" if self.path == "/list" else one.name
            name = f"{one.provider}/{one.name}" if self.path == "/providers" else one.name
            rows["model", name] = title
        return rows

    def expire(self, row: Connection) -> None:
        """All is always read."""

    def split(self, size: int) -> None:
        self.server.page = size


class NotionWorld(World):
    service = "notion"

    def __init__(self, server: notion.Notion) -> None:
        self.server = server

    def connect(self) -> Connection:
        """With tokens that rotate, and whose end Notion doesn't say."""
        name = f"mine {Connection.objects.count()}"
        return granted("notion", self.server.url, self.server.apps.grant("client-1", ()), name=name)

    def repair(self, row: Connection) -> None:
        row.reconnect(credentials(self.server.apps.grant("client-1", ())))

    def fill(self) -> None:
        server = self.server
        tasks, notes = server.add_data_source("Tasks"), server.add_data_source("Notes")
        for number in range(3):
            server.add_page(f"task {number}", tasks)
        server.add_page("home")
        server.left_out = {server.add_page("a note", notes)["id"]}

    def happen(self, random: Random) -> None:
        server, count = self.server, len(self.server.asked)
        pages = [row for row in server.pages if not row["in_trash"]]
        sources = [row for row in server.data_sources if not row["in_trash"]]
        match random.choice(
            ("page", "row", "source", "edit", "edit", "trash", "move", "token", "limit", "fault")
        ):
            case "page":
                server.add_page(f"p{count}")
            case "row":
                server.add_page(f"r{count}", random.choice(sources))
            case "source":
                server.add_data_source(f"s{count}")
            case "edit":
                server.edit(random.choice(pages + sources), f"e{count}")
            case "trash" if len(pages) > 1:
                server.trash(random.choice(pages))
            case "move":
                server.move(random.choice(pages), random.choice(sources))
            case "token":
                server.apps.clock += 3600
                server.apps.loses_answers = random.randint(0, 1)
            case "limit":
                server.remaining = random.randint(0, 5)
            case "fault":
                server.faults.append(random.choice(FAULTS))

    def expected(self) -> Expected:
        return {
            (row["object"], row["id"]): "".join(part["plain_text"] for part in _title(row))
            for row in [*self.server.pages, *self.server.data_sources]
            if not row["in_trash"]
        }

    def expire(self, row: Connection) -> None:
        row.refresh_from_db()
        at = {key: one for key, one in (row.cursor or {}).items() if key != "tried_at"}
        long_ago = (timezone.now() - timedelta(days=2)).isoformat()
        Connection.objects.filter(pk=row.pk).update(cursor={**at, "full_at": long_ago})

    def wait(self) -> None:
        self.server.remaining = None


def _title(row: dict[str, Any]) -> list[dict[str, Any]]:
    if row["object"] == "data_source":
        return list(row["title"])
    (named,) = row["properties"].values()
    return list(named["title"])


class SlackWorld(World):
    service = "slack"

    def __init__(self, server: slack.Slack) -> None:
        self.server = server

    def connect(self) -> Connection:
        """With tokens that rotate."""
        name, server = f"mine {Connection.objects.count()}", self.server
        server.apps.lives = 43_200
        pair = server.apps.grant("client-1", server.scopes)
        return granted("slack", f"{server.url}/api", pair, name=name)

    def repair(self, row: Connection) -> None:
        row.reconnect(credentials(self.server.apps.grant("client-1", self.server.scopes)))

    def fill(self) -> None:
        server = self.server
        general, secret = server.add_channel("general"), server.add_channel("secret", private=True)
        server.add_channel("others", member=False)
        for number in range(4):
            server.post(general, f"m{number}")
        server.post(secret, "hush")

    def happen(self, random: Random) -> None:
        server, count = self.server, len(self.server.asked)
        joined = [row for row in server.channels if row["is_member"]]
        channel = random.choice(joined)
        messages = server.messages[channel["id"]]
        match random.choice(
            (
                "channel",
                "post",
                "post",
                "edit",
                "delete",
                "name",
                "leave",
                "token",
                "limit",
                "fault",
            )
        ):
            case "channel":
                server.add_channel(f"c{count}", private=random.random() < 0.3)
            case "post":
                server.post(channel, f"p{count}")
            case "edit" if messages:
                server.edit(random.choice(messages), f"e{count}")
            case "delete" if messages:
                server.delete(channel, random.choice(messages))
            case "name":
                channel["name"] = f"n{count}"
            case "leave" if len(joined) > 1:
                server.remove_channel(channel)
            case "token":
                server.apps.clock += 43_200
                server.apps.loses_answers = random.randint(0, 1)
            case "limit":
                server.rates["conversations.history"] = random.randint(1, 3)
            case "fault":
                server.faults.append(random.choice(FAULTS))

    def expected(self) -> Expected:
        rows: Expected = {("channel", r["id"]): f"#{r['name']}" for r in self.server.channels}
        for channel in self.server.channels:
            for message in self.server.messages[channel["id"]]:
                rows["message", f"{channel['id']}/{message['ts']}"] = message["text"]
        return rows

    def expire(self, row: Connection) -> None:
        """The window is always read again."""

    def wait(self) -> None:
        self.server.pass_time(60)


FAULTS = (
    Reply(500, "oops"),
    Reply(429, {}, {"Retry-After": "60"}),
    Reply(200, "no JSON"),
    Reply(200, [{"id": 7}], half=True),
    Reply(404, {}),
)


@contextmanager
def github_world() -> Iterator[World]:
    with running(github.GitHub()) as server:
        assert isinstance(server, github.GitHub)
        yield GitHubWorld(server)


@contextmanager
def bakalari_world() -> Iterator[World]:
    with running(bakalari.Bakalari()) as server:
        assert isinstance(server, bakalari.Bakalari)
        yield BakalariWorld(server)


@contextmanager
def google_world() -> Iterator[World]:
    with running(google_calendar.GoogleCalendar()) as server, at_server("google_calendar", server):
        assert isinstance(server, google_calendar.GoogleCalendar)
        yield GoogleWorld(server)


@contextmanager
def notion_world() -> Iterator[World]:
    with running(notion.Notion()) as server, at_server("notion", server):
        assert isinstance(server, notion.Notion)
        yield NotionWorld(server)


@contextmanager
def slack_world() -> Iterator[World]:
    with running(slack.Slack()) as server, at_server("slack", server):
        assert isinstance(server, slack.Slack)
        yield SlackWorld(server)


@contextmanager
def catalogue_world(path: str) -> Iterator[World]:
    with running(llm_models.LlmModels()) as server:
        assert isinstance(server, llm_models.LlmModels)
        yield CatalogueWorld(server, path)


# What follows a colon is a shape of that service.
WORLDS: dict[str, Callable[[], AbstractContextManager[World]]] = {
    "bakalari": bakalari_world,
    "github": github_world,
    "google_calendar": google_world,
    "notion": notion_world,
    "slack": slack_world,
    "llm_models:list": partial(catalogue_world, "/list"),
    "llm_models:map": partial(catalogue_world, "/map"),
    "llm_models:providers": partial(catalogue_world, "/providers"),
}
