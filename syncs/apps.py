from django.apps import AppConfig


class SyncsConfig(AppConfig):
    name = "syncs"
    verbose_name = "Syncs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from syncs.workers import signals  # noqa: F401 (listens to the queue's signals)
