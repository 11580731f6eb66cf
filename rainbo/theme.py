"""The theme's admin site, without what it works out again for every page."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string
from unfold.sites import UnfoldAdminSite

from rainbo import navigation


class ConsoleSite(UnfoldAdminSite):
    def check(self, app_configs: Any) -> Any:
        """Without its pages, which no command has loaded yet, a check would find nothing."""
        admin.autodiscover()
        return super().check(app_configs)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Built when somebody looks: the console's menu is its own."""
        return SimpleLazyObject(lambda: super(ConsoleSite, self).get_app_list(request, app_label))

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        return navigation.sidebar(request)

    def _get_colors(self, key: str, *args: Any) -> dict[str, dict[str, str]]:
        """The settings', which no request changes."""
        if key not in self._colors:
            self._colors[key] = super()._get_colors(key, *args)
        return self._colors[key]

    def _get_value(self, value: Any, *args: Any) -> Any:
        """The theme tries to import every text of the settings; once is enough."""
        if not isinstance(value, str):
            return super()._get_value(value, *args)
        found = _function(value)
        return value if found is None else found(*args)

    @functools.cached_property
    def _colors(self) -> dict[str, dict[str, dict[str, str]]]:
        return {}


@functools.cache
def _function(name: str) -> Callable[..., Any] | None:
    """What a text of the settings names; None if it is a text."""
    try:
        found: Callable[..., Any] = import_string(name)
    except ImportError:
        return None
    return found
