"""`python -m tests.syncs.faults.helper`: does in a process of RAINBO what each line asks for."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import django


def channel(url: str) -> None:
    """Send alerts there, all of them and at once."""
    from alerts.models import Channel, ChannelKind, Level, Rule

    row = Channel(name="soak", kind=ChannelKind.WEBHOOK, level=Level.NOTICE, per_hour=10_000)
    row.set_address(url, "127.0.0.1")
    row.set_signing("whsec_" + "QUFB" * 8)
    row.save(force_insert=True)
    Rule.objects.update(hold_seconds=0, level=Level.URGENT)
    Rule.objects.filter(name__in=("failure_rate", "failures_in_a_row", "missed")).update(
        enabled=False
    )


def evaluate() -> None:
    from alerts import tick

    tick.tick(wait=True)


def command(*words: str) -> None:
    from django.core.management import call_command

    call_command(*words, stdout=io.StringIO())


WORK: dict[str, Callable[..., None]] = {
    "channel": channel,
    "evaluate": evaluate,
    "command": command,
}


def main() -> None:
    from django.db import connections

    for line in sys.stdin:
        word, *given = line.split()
        try:
            WORK[word](*given)
            answer = "done"
        except Exception as error:  # noqa: BLE001 (the boundary: who asked raises it)
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")
        finally:
            connections.close_all()
        print(answer, flush=True)


if __name__ == "__main__":
    django.setup()
    main()
