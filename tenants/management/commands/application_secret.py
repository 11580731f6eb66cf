from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from activity.log import COMMAND_LINE, record_by
from common.command import RainboCommand
from common.errors import UsageError
from tenants.models import RdsInstance
from tenants.support_access import events


class Command(RainboCommand):
    help = "Make the secret that an instance's application signs its events with. It is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--rds", type=int, required=True, help="the instance")
        parser.add_argument("--remove", action="store_true", help="remove the secret instead")

    def handle(self, **options: Any) -> None:
        """The secret alone on stdout, so that a script can keep it; all else on stderr."""
        instance = RdsInstance.objects.filter(pk=options["rds"]).first()
        if instance is None:
            raise UsageError(f"no instance has the id {options['rds']}")
        with transaction.atomic():
            if options["remove"]:
                self._remove(instance)
                return
            secret = events.make_secret(instance)
            record_by(COMMAND_LINE, None, None, "application_secret.made", instance)
        self.stderr.write(f"The secret of {instance} is shown only now:")
        self.stdout.write(secret)

    def _remove(self, instance: RdsInstance) -> None:
        if events.remove_secret(instance):
            record_by(COMMAND_LINE, None, None, "application_secret.removed", instance)
        self.stderr.write(f"{instance} has no secret now: none of its events is accepted.")
