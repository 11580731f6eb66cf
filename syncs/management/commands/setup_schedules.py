from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from syncs import schedules
from syncs.schedules import Setup


class Command(BaseCommand):
    help = "Creates the default schedules that are missing; what a person changed stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--restore", action="store_true", help="create those again that a person removed"
        )

    def handle(self, **options: Any) -> None:
        done = schedules.create_missing(restore=options["restore"])
        for setup in done:
            self.stdout.write(_line(setup))
        created = sum(setup.outcome == "created" for setup in done)
        self.stdout.write(
            f"{created} of {len(done)} default schedules created. "
            "They fire while manage.py qcluster runs."
        )


def _line(setup: Setup) -> str:
    if setup.outcome == "removed":
        return f"{setup.sync}: left out, because a person removed it (--restore creates it)"
    times = ", ".join(
        f"{plan.cron} UTC, " + ("paused" if plan.paused else f"next {plan.next_slot:%H:%M}")
        for plan in setup.planned
    )
    return f"{setup.sync}: {setup.outcome} ({times})"
