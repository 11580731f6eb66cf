from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from unfold.apps import BasicAppConfig


class ThemeConfig(BasicAppConfig):
    """The theme, with our site as the one that pages are registered at."""

    default = False

    def ready(self) -> None:
        from django.contrib import admin
        from django.contrib.admin import sites

        from rainbo.theme import ConsoleSite

        sites.site = admin.site = ConsoleSite()


class ConsoleConfig(SimpleAdminConfig):
    """Pages are registered when the URLs are loaded: most commands need none of them."""

    default = False


class RainboConfig(AppConfig):
    name = "rainbo"
    verbose_name = "RAINBO"

    def ready(self) -> None:
        from common import key_rotation, read_only
        from rainbo import (
            checks,  # noqa: F401 (they register themselves)
            error_reports,
            own_database,
            pruning,  # noqa: F401 (its rules register themselves)
        )
        from rainbo.auth import roles, sessions, sign_in_log
        from rainbo.models import Authenticator

        key_rotation.register(Authenticator, "secret")
        connection_created.connect(own_database.pin_settings, dispatch_uid="pinned settings")
        read_only.connect()
        sessions.connect()
        sign_in_log.connect()
        error_reports.start()
        post_migrate.connect(roles.after_migrate, sender=self, dispatch_uid="roles")
