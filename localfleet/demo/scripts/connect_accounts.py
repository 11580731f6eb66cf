"""The demo's accounts at third-party services. Run inside RAINBO by `manage.py shell`; the accounts
are in the environment. What is connected already is connected again: the services forget tokens
when they end."""

from __future__ import annotations

import json
import os

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command

TOKEN = "DEMO_TOKEN"  # noqa: S105 (a name)
BY_BROWSER_ALONE = "google_calendar"  # its page for that is not on this machine

connections = apps.get_model("integrations", "Connection").objects
admin = get_user_model().objects.get(username="admin")
for given in json.loads(os.environ["DEMO_ACCOUNTS"]):
    os.environ[TOKEN] = given["token"]
    mine = {"owner": admin, "service": given["service"], "name": given["name"]}
    row = connections.filter(**mine).first()
    if row is None and given["service"] == BY_BROWSER_ALONE:
        row = connections.create(
            **mine,
            base_url=given["address"],
            account=admin.email,
            update_frequency_minutes=given["minutes"],
            is_shared=True,
        )
    if row is None:
        call_command(
            "integrations_add",
            given["service"],
            given["name"],
            owner=admin.username,
            account=given["account"],
            address=given["address"],
            frequency=given["minutes"],
            shared=True,
            token_env=TOKEN,
        )
        continue
    connections.filter(pk=row.pk).update(base_url=given["address"])
    row.refresh_from_db()
    if given["service"] == BY_BROWSER_ALONE:
        row.reconnect({"token": given["token"]})
    else:
        call_command("integration_reconnect", row.pk, token_env=TOKEN)
