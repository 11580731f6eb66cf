from __future__ import annotations

from django.apps import AppConfig


class RainboConfig(AppConfig):
    name = "rainbo"
    verbose_name = "RAINBO"

    def ready(self) -> None:
        from rainbo import checks  # noqa: F401 (registers the system checks)
