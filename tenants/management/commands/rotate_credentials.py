from __future__ import annotations

import sys
from collections import Counter
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from common.clock import database_now
from common.command import RainboCommand
from common.encryption import key_digests
from common.errors import UsageError
from common.key_rotation import keys_in_use, rotate_all
from common.text import counted, listed
from syncs.models import Heartbeat

SHOWN = 10


class Command(RainboCommand):
    help = "Re-encrypt all stored secrets with the newest key in RAINBO_CREDENTIAL_KEYS."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="write nothing; exit with 1 while an older key is needed",
        )

    def handle(self, *args: object, **options: Any) -> None:
        lost = () if options["check"] else self._rotate()
        used = keys_in_use()
        self.stdout.write(_advice(used))
        if lost or used[None] or (options["check"] and set(used) - {0}):
            sys.exit(1)

    def _rotate(self) -> tuple[str, ...]:
        if workers := workers_without_newest_key():
            raise UsageError(
                f"not every process has the newest key: {listed(workers, SHOWN)}. They could not "
                "read what it encrypts: put it first on every machine, keep the older keys after "
                "it, restart web and workers there, and repeat: a process that was stopped counts "
                f"for {settings.RAINBO_HEARTBEAT_TIMEOUT:.0f} seconds after its last heartbeat"
            )
        done = rotate_all()
        self.stdout.write(f"Re-encrypted {counted(done.renewed, 'secret')} with the newest key.")
        for name in done.lost:
            self.stderr.write(
                f"No key decrypts the secret of {name}: add its key again to "
                "RAINBO_CREDENTIAL_KEYS. If the key is lost, set an instance's password with "
                "add_instance --update, or run reset_second_factor for a user."
            )
        return done.lost


def workers_without_newest_key() -> list[str]:
    """Return the live processes that don't have it, by their last heartbeats."""
    since = database_now() - timedelta(seconds=settings.RAINBO_HEARTBEAT_TIMEOUT)
    newest = key_digests()[0]
    alive = Heartbeat.objects.filter(at__gt=since, keys__isnull=False).order_by("worker")
    return [known.worker for known in alive if newest not in (known.keys or ())]


def _advice(used: Counter[int | None]) -> str:
    """Which keys nothing stored needs; backups may."""
    count = len(settings.RAINBO_CREDENTIAL_KEYS)
    if used[None]:
        lost = counted(used[None], "secret")
        return f"No key decrypts {lost}. Keep all keys until this is fixed."
    if count == 1:
        return "RAINBO_CREDENTIAL_KEYS has one key, which is in use: keep it."
    lines = [
        f"Key {place + 1} is still needed by {counted(used[place], 'secret')}: keep it."
        for place in range(1, count)
        if used[place]
    ]
    free = [place + 1 for place in range(1, count) if not used[place]]
    if free:
        which = f"key {free[0]}" if len(free) == 1 else f"keys {', '.join(map(str, free))}"
        if free == [*range(2, count + 1)] and len(free) > 1:
            which = f"keys 2 to {count}"
        lines.append(
            f"{which.capitalize()} of RAINBO_CREDENTIAL_KEYS can be removed: remove and restart. "
            "Backups from before this rotation need it: keep it with them."
        )
    return "\n".join(lines)
