"""Services at which the demo's accounts are connected: GitHub and others, on this machine.

python -m localfleet.demo.providers ROOT SERVICE=PORT…

Now and then something happens at one of them, so that there is something to fetch. What happened
is repeated at the next start, since they keep everything in memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from localfleet.servers.data_folder import write_private
from localfleet.services.authorization import Issued
from localfleet.services.bakalari import Bakalari
from localfleet.services.github import GitHub
from localfleet.services.google_calendar import GoogleCalendar
from localfleet.services.llm_models import LlmModels, odd_models
from localfleet.services.notion import Notion
from localfleet.services.server import Asked, Reply, Service, running
from localfleet.services.slack import Slack

EVERY = 20.0  # seconds, until something happens at the next one
MOST = 3_000  # things that happen: the demo may run for weeks
CALENDAR_TOKEN = "demo-calendar-token"  # noqa: S105 (a made-up one)
TASKS = ("Sign-in is slow", "Typo in the footer", "Add an export", "Dark mode flickers")
TALK = ("Deploy is done", "Who is on call?", "Lunch?", "The staging server is back")
PRICES = ("2.5", "2", "2.25", "3")


class DemoGitHub(GitHub):
    """Accepts the token that a file holds: whoever writes another one there revokes it."""

    def __init__(self, file: Path) -> None:
        super().__init__(file.read_text(encoding="utf-8"))
        self._file = file

    def answer(self, asked: Asked) -> Reply:
        self.token = self._file.read_text(encoding="utf-8")
        return super().answer(asked)


def token_file(root: Path) -> Path:
    """Holds the token that the demo's GitHub accepts."""
    return root / "github.token"


class World:
    """All services, filled alike at each start. began: when the demo was started first."""

    def __init__(self, root: Path, began: datetime) -> None:
        self.github = DemoGitHub(token_file(root))
        self.notion, self.slack = Notion(), Slack()
        self.calendar, self.school = GoogleCalendar("admin@example.com"), Bakalari()
        self.models = LlmModels(odd_models())
        self.slack.clock = began - timedelta(hours=2)
        everything = Issued("demo", self.calendar.person, "", None)
        self.calendar.apps.access[CALENDAR_TOKEN] = everything
        self._fill()

    @property
    def services(self) -> Mapping[str, Service]:
        return {
            "github": self.github,
            "notion": self.notion,
            "slack": self.slack,
            "google_calendar": self.calendar,
            "bakalari": self.school,
            "llm_models": self.models,
        }

    def happen(self, number: int) -> None:
        """Let the thing of this number happen, the same one whenever it is asked for."""
        ways: list[Callable[[int], object]] = [
            lambda n: self.github.add_issue(f"{TASKS[n % 4]} ({n})", pull=n % 3 == 0),
            lambda n: self.slack.post(self.slack.channels[n % 2], f"{TALK[n % 4]} ({n})"),
            lambda n: self.notion.add_page(f"Minutes {n}", self.notion.data_sources[0]),
            lambda n: self.calendar.add_event(self.calendar.person, f"Review {n}"),
            lambda n: self.school.add_mark("Maths", str(n % 5 + 1)),
            lambda n: self.models.change("openai/gpt-4o", input=PRICES[n % 4]),
        ]
        ways[number % len(ways)](number // len(ways))

    def _fill(self) -> None:
        for name in ("website", "billing", "mobile-app"):
            self.github.add_repository(name)
        for number, title in enumerate(TASKS):
            self.github.add_issue(title, pull=number == 1)
        self.github.add_notification("You were mentioned")
        projects = self.notion.add_data_source("Projects")
        for title in ("Roadmap", "Pricing", "Hiring"):
            self.notion.add_page(title, projects)
        self.notion.add_page("Handbook")
        for name in ("general", "support"):
            channel = self.slack.add_channel(name)
            for text in TALK:
                self.slack.post(channel, text)
        team = self.calendar.add_calendar("team@group.calendar.google.com")
        for title in ("Stand-up", "Planning"):
            self.calendar.add_event(team, title)
        self.calendar.add_event(self.calendar.person, "Dentist")
        for subject, mark in (("Maths", "1"), ("Physics", "2"), ("English", "1-")):
            self.school.add_mark(subject, mark)
        self.school.add_absence("2026-03-03", 2)
        self.school.days = {"2026-03-02": ["Maths", "Physics"], "2026-03-03": ["English"]}


def main(root: Path, ports: Mapping[str, int]) -> None:
    kept = root / "providers.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    known = {"began": datetime.now(UTC).isoformat(), "happened": 0} | known
    world = World(root, datetime.fromisoformat(known["began"]))
    for number in range(known["happened"]):
        world.happen(number)
    with ExitStack() as stack:
        for name, service in world.services.items():
            stack.enter_context(running(service, ports[name]))
        while True:
            write_private(kept, json.dumps(known))
            time.sleep(EVERY)
            if known["happened"] < MOST:
                _happen(world, known["happened"])
                known["happened"] += 1


def _happen(world: World, number: int) -> None:
    with ExitStack() as stack:
        for service in world.services.values():
            stack.enter_context(service.lock)
        world.happen(number)


if __name__ == "__main__":
    pairs = (word.partition("=") for word in sys.argv[2:])
    main(Path(sys.argv[1]), {name: int(port) for name, _, port in pairs})
