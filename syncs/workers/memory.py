"""A limit of memory per process, so that one that grows fails alone."""

from __future__ import annotations

import resource

from django.conf import settings

_MB = 1024 * 1024


def limit_memory() -> None:
    """Limit the memory that this process and those that it forks may allocate.

    Writable memory counts (RLIMIT_DATA), not address space (RLIMIT_AS): an allocator reserves 64 MB
    of address space for each thread and uses little of it. Beyond the limit Python raises
    MemoryError, and libpq drops the connection whose message it can't hold. RAINBO_PROCESS_MAX_MB
    of 0 sets no limit; a lower one that was set before stays.
    """
    wanted = settings.RAINBO_PROCESS_MAX_MB * _MB
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    if wanted and wanted < min(known, default=wanted + 1):
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
