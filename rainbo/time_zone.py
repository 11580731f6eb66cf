"""Shows times in the zone of the viewer's browser; inside, they stay UTC."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

COOKIE = "rainbo_zone"  # static/rainbo/zone.js sets it

Handler = Callable[[HttpRequest], HttpResponseBase]


def display_zone(get_response: Handler) -> Handler:
    """Use the browser's time zone, or the installation's if that is missing or unknown."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        zone_name = request.COOKIES.get(COOKIE, "")
        name = zone_name if zone_name in _known() else settings.RAINBO_TIME_ZONE
        with timezone.override(ZoneInfo(name)):
            return get_response(request)

    return middleware


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones())
