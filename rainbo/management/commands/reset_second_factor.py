from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from activity.log import record_by
from common.errors import UsageError
from rainbo.auth import second_factor


class Command(BaseCommand):
    help = "Reset a user's two-factor authentication, for when no administrator can sign in."

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
                record_by("manage.py", None, None, "person.second_factor_reset", user)
        self.stdout.write(
            f"Two-factor authentication of {name} was reset."
            if had_one
            else f"{name} doesn't use two-factor authentication."
        )
