from django.apps import AppConfig

HOUR = 60 * 60  # seconds
DAY = 24 * HOUR


class SyncsConfig(AppConfig):
    name = "syncs"
    verbose_name = "Syncs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from common.later import later
        from syncs import hooks
        from syncs.status import problems
        from syncs.status.sync_problems import SYNCS
        from syncs.workers import (
            packages,
            signals,  # noqa: F401 (listens to the queue's signals)
        )

        packages.restrict()
        hooks.periodic(DAY, later("syncs.engine.pruning.prune_by_itself"))
        hooks.periodic(HOUR, later("syncs.engine.pruning.roll_up_by_itself"))
        hooks.periodic(DAY, later("syncs.engine.pruning.rebuild_indexes_by_itself"))
        problems.register(SYNCS)
