from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RainboConfig(AppConfig):
    name = "rainbo"
    verbose_name = "RAINBO"

    def ready(self) -> None:
        from common import key_rotation
        from rainbo import checks, roles, sessions, sign_in_record  # noqa: F401 (checks register)
        from rainbo.models import Authenticator

        key_rotation.register(Authenticator, "secret")
        sessions.connect()
        sign_in_record.connect()
        post_migrate.connect(roles.after_migrate, sender=self, dispatch_uid="roles")
