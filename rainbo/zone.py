"""Shows times in the installation's zone; inside, they stay UTC."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

Handler = Callable[[HttpRequest], HttpResponseBase]


def display_zone(get_response: Handler) -> Handler:
    zone = ZoneInfo(settings.RAINBO_TIME_ZONE)

    def middleware(request: HttpRequest) -> HttpResponseBase:
        with timezone.override(zone):
            return get_response(request)

    return middleware
