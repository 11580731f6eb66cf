"""gunicorn reads this file from its working directory; options of the command line come first."""

from __future__ import annotations

from typing import Any

# Which proxies are trusted is RAINBO_BEHIND_PROXY alone. By default gunicorn believes
# X-Forwarded-Proto whenever it comes from the loopback address.
forwarded_allow_ips = ""

# The proxy keeps browsers' connections open; to it, each request is one of its own.
keepalive = 0


def post_fork(_: Any, worker: Any) -> None:
    """Let a process accept only what it can soon answer.

    The rest waits in the kernel for whichever process is free first. By default one of them takes
    most connections and the other idles: of 50 readers, 47 waited for the same process once.
    """
    worker.worker_connections = worker.cfg.threads + 2
