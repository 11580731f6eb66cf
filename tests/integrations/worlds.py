"""A world for each service: its server, what can happen there, and what should be stored then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any

from django.utils import timezone

from integrations.models import Connection
from localfleet.services import github
from localfleet.services.server import Reply, running
from tests.integrations.rows import connection

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

    def split(self, size: int) -> None:
        """Answer in pages of so many rows."""
        self.server.page = size


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


WORLDS = {"github": github_world}
