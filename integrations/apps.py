from django.apps import AppConfig


class IntegrationsConfig(AppConfig):
    name = "integrations"
    verbose_name = "Integrations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from common import key_rotation
        from common.later import later
        from integrations import services
        from integrations.models import AuthorizationRequest, Connection
        from integrations.problems import CONNECTIONS
        from syncs import hooks
        from syncs.status import problems

        services.register_all()
        key_rotation.register(Connection, "credentials")
        key_rotation.register(AuthorizationRequest, "verifier")
        hooks.periodic(30, later("integrations.look.look"))
        problems.register(CONNECTIONS)
