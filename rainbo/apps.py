from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_dependencies
from django.core import checks
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate
from unfold.apps import BasicAppConfig


class ThemeConfig(BasicAppConfig):
    """The theme, without the site and the pages that it would register by itself."""

    default = False


class ConsoleConfig(SimpleAdminConfig):
    """The site and its pages are made when the URLs are loaded: most commands need none of them."""

    default = False
    default_site = "rainbo.theme.ConsoleSite"

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(_check_site, checks.Tags.admin)


def _check_site(app_configs: Any, **_: object) -> list[checks.CheckMessage]:
    """Django checks the sites that were made already: most commands have made none."""
    from django.contrib import admin

    found: list[checks.CheckMessage] = admin.site.check(app_configs)
    return found


class RainboConfig(AppConfig):
    name = "rainbo"
    verbose_name = "RAINBO"

    def ready(self) -> None:
        from common import key_rotation, read_only
        from rainbo import (
            checks,  # noqa: F401 (they register themselves)
            error_reports,
            own_database,
        )
        from rainbo.auth import roles, sessions, sign_in_log
        from rainbo.models import Authenticator

        apps.get_app_config("auth").verbose_name = "People"  # as the menu calls it
        key_rotation.register(Authenticator, "secret")
        connection_created.connect(own_database.pin_settings, dispatch_uid="pinned settings")
        read_only.connect()
        sessions.connect()
        sign_in_log.connect()
        error_reports.start()
        post_migrate.connect(roles.after_migrate, sender=self, dispatch_uid="roles")
