"""Makes the secrets of the instances' applications, by the command that a person would use.
Run inside RAINBO by `manage.py shell`: three processes would take three times as long."""

from __future__ import annotations

import os

from django.core.management import call_command

for number in os.environ["DEMO_INSTANCES"].split():
    call_command("application_secret", f"--rds={number}")
