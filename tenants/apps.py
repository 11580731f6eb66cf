from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TenantsConfig(AppConfig):
    name = "tenants"
    verbose_name = "Fleet"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from common import key_rotation
        from common.later import later
        from syncs import hooks
        from syncs.status import problems
        from tenants import jobs, signals  # noqa: F401 (they register themselves)
        from tenants.fleet import targets
        from tenants.ghosts.problems import GHOSTS
        from tenants.health.problems import INSTANCES
        from tenants.models import ApplicationSecret, RdsInstance, ScramKeys, SupportKey
        from tenants.routes import search_keys
        from tenants.routes.miscounts import MISCOUNTS
        from tenants.support_access.problems import SUPPORT

        key_rotation.register(RdsInstance, "password")
        key_rotation.register(ScramKeys, "keys")
        key_rotation.register(SupportKey, "secret")
        key_rotation.register(ApplicationSecret, "secret")
        hooks.knows_groups(targets.target_groups)
        hooks.periodic(60, later("tenants.ghosts.owed.retire_leavers"))
        hooks.periodic(15, later("tenants.support_access.sessions.follow"))
        hooks.periodic(60, later("tenants.support_access.forgeries.look"))
        problems.register(GHOSTS)
        problems.register(INSTANCES)
        problems.register(search_keys.KEYS)
        problems.register(MISCOUNTS)
        problems.register(SUPPORT)
        post_migrate.connect(
            search_keys.remember_first, sender=self, dispatch_uid="version of the search keys"
        )
