from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from common.key_rotation import Rotation, rotate_all


class Command(BaseCommand):
    help = "Seals every stored secret anew under the newest of RAINBO_CREDENTIAL_KEYS."

    def handle(self, *args: object, **given: Any) -> None:
        done = rotate_all()
        self.stdout.write(f"{done.renewed} secrets are sealed under the newest key.")
        for name in done.lost:
            self.stderr.write(
                f"No key opens the secret of {name}: bring its key back. Else enter an instance's "
                "password again with add_instance --update, or reset a person's second factor."
            )
        self.stdout.write(_advice(done))
        if done.lost:
            sys.exit(1)


def _advice(done: Rotation) -> str:
    older = len(settings.RAINBO_CREDENTIAL_KEYS) - 1
    if done.lost:
        return "Keep all keys until this is mended."
    if not older:
        return "RAINBO_CREDENTIAL_KEYS holds one key, which is in use: keep it."
    which = "key 2" if older == 1 else f"keys 2 to {older + 1}"
    return f"Nothing needs {which} of RAINBO_CREDENTIAL_KEYS any more: take out and restart."
