"""The addresses that programs use. `/api/v1/docs` describes those under `/api/v1/`."""

from __future__ import annotations

from django.urls import path

from api.openapi import DocumentedApi
from api.parsing import ObjectParser
from api.views import fleet, runs, schedules, syncs

VERSION = "1.0.0"

v1 = DocumentedApi(
    title="RAINBO",
    version=VERSION,
    description="Syncs, runs, freshness and the fleet, for programs. Errors are problem documents "
    "(RFC 9457). `manage.py api_token create` makes a token.",
    urls_namespace="api-v1",
    parser=ObjectParser(),
)
for part in (syncs, runs, fleet, schedules):
    v1.add_router("", part.router)

urlpatterns = [path("api/v1/", v1.urls)]
