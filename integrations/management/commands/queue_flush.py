from __future__ import annotations

from typing import Any

from common.command import RainboCommand
from common.text import counted
from integrations import failures


class Command(RainboCommand):
    help = "Forget the failures of connections: the next failure counts as the first."

    def handle(self, *args: object, **given: Any) -> None:
        count = failures.flush()
        self.stdout.write(f"Forgot the failures of {counted(count, 'connection')}.")
