"""The addresses that programs use. `/api/v1/docs` describes those under `/api/v1/`."""

from __future__ import annotations

from django.urls import path, re_path

from api import metrics
from api.doors import activity, bakalari, cron, jwks, models
from api.doors.door import nothing
from api.openapi import DocumentedApi, LocalSwagger
from api.parsing import ObjectParser
from api.views import alerts, connections, fleet, runs, schedules, syncs

VERSION = "1.0.0"

v1 = DocumentedApi(
    title="RAINBO",
    version=VERSION,
    description="Syncs, runs, freshness and the fleet, for programs. Errors are problem documents "
    "(RFC 9457). `manage.py api_token create` makes a token.",
    urls_namespace="api-v1",
    parser=ObjectParser(),
    docs=LocalSwagger(),
)
for part in (syncs, runs, fleet, schedules, connections, alerts):
    v1.add_router("", part.router)

RUN = r"(?P<keys>[0-9]{1,18})"
RUNS = r"(?P<keys>[0-9]{1,18}(?:,[0-9]{1,18}){0,19})"

# The documented addresses of cron services; docs/api.md says what each answers.
doors = [
    path("api/cron/sync-integrations", cron.sync_integrations),
    re_path(rf"^api/cron/sync-integrations/runs/{RUNS}\Z", cron.show_runs, name="door_runs"),
    path("api/cron/monitoring", cron.show_monitoring),
    path("api/cron/monitoring/cleanup", cron.clean_up),
    path("api/sync/<str:name>", bakalari.sync),
    re_path(
        rf"^api/sync/(?P<name>[a-z_]{{1,64}})/runs/{RUN}\Z", bakalari.show, name="door_sync_run"
    ),
    path("admin/model-sync/all", models.sync_all),
    path("admin/model-sync/status", models.show_status),
    re_path(rf"^admin/model-sync/runs/{RUN}\Z", models.show_sync, name="door_model_run"),
    path("admin/pricing/sync/<str:key>", models.sync_prices),
    re_path(
        rf"^admin/pricing/sync/(?P<key>[^/]+)/status/{RUN}\Z",
        models.show_prices,
        name="door_price_run",
    ),
    re_path(r"^admin/(?:model-sync|pricing)/", nothing),  # the console has no such page either
]

urlpatterns = [
    path("api/v1/activity", activity.receive),  # signed, without a token
    path("api/v1/", v1.urls),
    path("metrics", metrics.view),
    path(".well-known/jwks.json", jwks.show_keys),
    *doors,
]
