"""The services. Importing this module registers each as a plugin and as a sync.

Others come by the entry point `rainbo.services`: a class of `integrations.plugin.Plugin`.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import entry_points

from integrations import plugin, selection
from integrations.fetching import fetch
from integrations.plugin import Plugin
from integrations.services.bakalari import Bakalari
from integrations.services.github import GitHub
from integrations.services.google_calendar import GoogleCalendar
from integrations.services.llm_models import LlmModels
from integrations.services.notion import Notion
from integrations.services.slack import Slack
from syncs.engine import registry
from syncs.engine.registry import Sync

GROUP = "rainbo.services"
ORDER = 100  # after the fleet's


def register(service: Plugin) -> None:
    """Register a service: its connections are the targets of one sync without a schedule."""
    plugin.register(service)
    registry.register(
        Sync(
            name=service.name,
            title=service.title,
            function=fetch,
            targets=selection.targets_of(service.name),
            cron="",
            order=ORDER,
            command=f"integrations_fetch --service {service.name}",
            noun="connection",
            part_flag="--connection",
            flags={"force": "--force"},
            pages=selection.CONNECTIONS,
            obstacles=partial(selection.obstacles, service.name),
            late_label=partial(selection.label_of, service=service.name),
        )
    )


def register_all() -> None:
    for service in (Bakalari, GitHub, GoogleCalendar, LlmModels, Notion, Slack):
        register(service())
    for point in entry_points(group=GROUP):
        register(point.load()())
