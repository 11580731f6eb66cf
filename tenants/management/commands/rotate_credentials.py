from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from common.key_rotation import Rotation, rotate_all
from common.text import counted


class Command(BaseCommand):
    help = "Re-encrypt all stored secrets with the newest key in RAINBO_CREDENTIAL_KEYS."

    def handle(self, *args: object, **given: Any) -> None:
        done = rotate_all()
        self.stdout.write(f"Re-encrypted {counted(done.renewed, 'secret')} with the newest key.")
        for name in done.lost:
            self.stderr.write(
                f"No key decrypts the secret of {name}: add its key again to "
                "RAINBO_CREDENTIAL_KEYS. If the key is lost, set an instance's password with "
                "add_instance --update, or run reset_second_factor for a user."
            )
        self.stdout.write(_advice(done))
        if done.lost:
            sys.exit(1)


def _advice(done: Rotation) -> str:
    older = len(settings.RAINBO_CREDENTIAL_KEYS) - 1
    if done.lost:
        return "Keep all keys until this is fixed."
    if not older:
        return "RAINBO_CREDENTIAL_KEYS has one key, which is in use: keep it."
    which = "key 2" if older == 1 else f"keys 2 to {older + 1}"
    return f"{which.capitalize()} of RAINBO_CREDENTIAL_KEYS can be removed: remove and restart."
