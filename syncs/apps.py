from django.apps import AppConfig


class SyncsConfig(AppConfig):
    name = "syncs"
    verbose_name = "Syncs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from syncs import hooks
        from syncs.engine import pruning
        from syncs.status import problems
        from syncs.status.sync_problems import SYNCS
        from syncs.workers import (
            packages,
            signals,  # noqa: F401 (listens to the queue's signals)
        )

        packages.restrict()
        hooks.periodic(pruning.INTERVAL, pruning.prune_by_itself)
        hooks.periodic(pruning.HOUR, pruning.roll_up_by_itself)
        hooks.periodic(pruning.INTERVAL, pruning.rebuild_indexes_by_itself)
        problems.register(SYNCS)
