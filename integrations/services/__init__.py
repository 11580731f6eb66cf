"""The services. Importing this module registers each as a plugin and as a sync.

Others come by the entry point `rainbo.services`: a class of `integrations.plugin.Plugin`. One that
can't be loaded keeps RAINBO from starting: without it, its connections would rest and nobody know.
"""

from __future__ import annotations

import re
from functools import partial
from importlib.metadata import EntryPoint, entry_points

from django.core.exceptions import ImproperlyConfigured

from common.later import later
from integrations import plugin, selection
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
NAME = re.compile(r"[a-z_]{1,64}")


def register(service: Plugin) -> None:
    """Register a service: its connections are the targets of one sync without a schedule.

    Raises ImproperlyConfigured for a name that is none, or another sync's.
    """
    if not NAME.fullmatch(service.name):
        raise ImproperlyConfigured(
            f"{service.name!r} names no service: its name has lower-case letters and underscores"
        )
    if any(service.name == known.name for known in registry.all_syncs()):
        raise ImproperlyConfigured(f"{service.name} can't be a service: another sync has that name")
    plugin.register(service)
    registry.register(
        Sync(
            name=service.name,
            title=service.title,
            function=later("integrations.fetching.fetch"),
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
        register(_loaded(point))


def _loaded(point: EntryPoint) -> Plugin:
    package = point.dist.name if point.dist else "an unknown package"
    what = f"the service {point.name} of {package}"
    try:
        found = point.load()()
    except Exception as error:
        raise ImproperlyConfigured(
            f"{what} can't be loaded ({type(error).__name__}: {error}): repair the package or "
            "uninstall it"
        ) from error
    if not isinstance(found, Plugin):
        raise ImproperlyConfigured(f"{what} is no integrations.plugin.Plugin: {point.value}")
    return found
