from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from activity.log import record_by
from common.errors import UsageError
from rainbo.auth import second_factor


class Command(BaseCommand):
    help = "Takes away a person's second factor, for when they have lost it and nobody else can."

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
            f"{name} has no second factor any more." if had_one else f"{name} had no second factor."
        )
