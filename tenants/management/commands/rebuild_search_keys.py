import sys
from typing import Any

from common.command import RainboCommand
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.management.base import actor
from syncs.models import RunState, Trigger
from tenants.routes import search_keys

INCOMPLETE = 3


class Command(RainboCommand):
    help = "Rebuild the keys and indexes that e-mails and names are found by."

    def handle(self, *args: object, **given: Any) -> None:
        self.stdout.write("Rebuilding every index of RAINBO's own database.")
        search_keys.rebuild_indexes()
        self.stdout.write("Reading the directory in full, which makes the keys of e-mails again.")
        options = Options(force=True)
        run = runs.execute(runs.request("user_routing", options, Trigger.COMMAND, actor()))
        if run.state != RunState.SUCCEEDED:
            self.stdout.write(
                f"Run {run.pk} of user_routing is {run.state}, so keys of e-mails may still be "
                "wrong. Look at the run, then run this command again."
            )
            sys.exit(INCOMPLETE)
        search_keys.remember_rebuilt()
        self.stdout.write("Keys and indexes are rebuilt.")
