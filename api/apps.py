from django.apps import AppConfig

HOUR = 60 * 60


class ApiConfig(AppConfig):
    name = "api"
    verbose_name = "API"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from api import refusals, requests
        from api.token_problems import TOKENS
        from syncs import hooks
        from syncs.status import problems

        problems.register(TOKENS)
        hooks.periodic(HOUR, refusals.prune)
        hooks.periodic(HOUR, requests.forget_keys)
