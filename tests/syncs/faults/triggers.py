"""`python -m tests.syncs.faults.triggers SYNC THREADS`: so many requests of one sync at once."""

from __future__ import annotations

import sys
import threading

import django

GATE = 4711


def main(sync: str, threads: int) -> None:
    from django.db import connection

    from syncs.engine import runs
    from syncs.engine.options import Options
    from syncs.models import Trigger

    start = threading.Barrier(threads)
    with connection.cursor() as cursor:  # until the test lets all processes go at once
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", [GATE])

    def trigger() -> None:
        start.wait()
        try:
            runs.execute(runs.request(sync, Options(), Trigger.BUTTON, "test"))
        finally:
            connection.close()

    crowd = [threading.Thread(target=trigger) for _ in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1], int(sys.argv[2]))
