"""Progress of a benchmark, on stderr."""

from __future__ import annotations

import sys
import time

_STARTED = time.monotonic()


def note(words: str) -> None:
    print(f"[{time.monotonic() - _STARTED:6.0f} s] {words}", file=sys.stderr, flush=True)
