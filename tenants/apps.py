from django.apps import AppConfig
from django.db.models.signals import post_migrate


class TenantsConfig(AppConfig):
    name = "tenants"
    verbose_name = "Fleet"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from common import key_rotation
        from syncs import hooks
        from syncs.status import problems
        from tenants import jobs, pruning, signals  # noqa: F401 (they register themselves)
        from tenants.fleet import targets
        from tenants.ghosts import owed
        from tenants.ghosts.problems import GHOSTS
        from tenants.health.problems import INSTANCES
        from tenants.models import ApplicationSecret, RdsInstance, ScramKeys, SupportKey
        from tenants.routes import search_keys
        from tenants.routes.miscounts import MISCOUNTS
        from tenants.support_access import forgeries, sessions
        from tenants.support_access.problems import SUPPORT

        key_rotation.register(RdsInstance, "password")
        key_rotation.register(ScramKeys, "keys")
        key_rotation.register(SupportKey, "secret")
        key_rotation.register(ApplicationSecret, "secret")
        hooks.knows_groups(targets.target_groups)
        hooks.periodic(owed.INTERVAL, owed.retire_leavers)
        hooks.periodic(sessions.INTERVAL, sessions.follow)
        hooks.periodic(forgeries.INTERVAL, forgeries.look)
        problems.register(GHOSTS)
        problems.register(INSTANCES)
        problems.register(search_keys.KEYS)
        problems.register(MISCOUNTS)
        problems.register(SUPPORT)
        post_migrate.connect(
            search_keys.remember_first, sender=self, dispatch_uid="version of the search keys"
        )
