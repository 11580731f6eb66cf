from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandParser
from django.db import transaction

from activity.log import COMMAND_LINE, record_by
from common.command import RainboCommand
from common.errors import UsageError
from rainbo.auth import second_factor


class Command(RainboCommand):
    help = "Reset a user's two-factor authentication (2FA), for when the device is lost."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="user name")

    def handle(self, **options: Any) -> None:
        name = options["name"]
        user = get_user_model().objects.filter(username=name).first()
        if user is None:
            raise UsageError(f"there is no user {name}")
        with transaction.atomic():
            had_one = second_factor.remove(user)
            if had_one:
                record_by(COMMAND_LINE, None, None, "person.second_factor_reset", user)
        self.stdout.write(
            f"Two-factor authentication of {name} is off."
            if had_one
            else f"{name} had no two-factor authentication."
        )
