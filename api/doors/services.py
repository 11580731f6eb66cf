"""The names under which third-party services are syncs, and how often they are fetched."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from integrations.plugin import all_plugins

BY_INTERVAL = {"15min": ("github",), "30min": ("notion", "slack", "google_calendar")}
PROVIDERS = tuple(name for names in BY_INTERVAL.values() for name in names)
BAKALARI = "bakalari"
MODELS = "llm_models"
SERVICES = frozenset({*PROVIDERS, BAKALARI})


def scope_of(name: str) -> str:
    """Return the scope that a token needs to run what has this name."""
    if name == MODELS:
        return "models:run"
    is_service = not name or name in SERVICES or name in BY_INTERVAL or name in all_plugins()
    return "integrations:run" if is_service else "syncs:run"


def scope_of_interval(request: HttpRequest, **_: Any) -> str:
    return scope_of(request.GET.get("interval", ""))


def scope_of_path(request: HttpRequest, name: str, **_: Any) -> str:  # noqa: ARG001
    return scope_of(name)
