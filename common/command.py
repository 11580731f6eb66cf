"""What RAINBO's management commands have in common."""

from __future__ import annotations

from django.core.management.base import BaseCommand

SETTINGS = "rainbo"  # the tag of the system checks of settings


class RainboCommand(BaseCommand):
    """A command that checks the settings before it works, and nothing else.

    Of pages, URLs and templates it needs none, and to load them takes longer than most commands:
    the web server, the workers and `manage.py check` look at those.
    """

    requires_system_checks = [SETTINGS]
