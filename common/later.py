"""Functions that are registered by their path: their modules are loaded at the first call.

A command that answers a question starts in half of the time when it loads no sync, no channel and
no connection to an instance. Processes that call them all load them once, before they are forked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string

_paths: set[str] = set()


def later(path: str) -> Callable[..., Any]:
    """Return a function that calls the one at this path, such as `tenants.jobs.verify.check`."""

    def call(*args: Any, **named: Any) -> Any:
        return import_string(path)(*args, **named)

    call.__module__, _, call.__qualname__ = path.rpartition(".")
    _paths.add(path)
    return call


def load_all() -> None:
    """Load what was registered so far. Raises ImportError for a path that leads nowhere."""
    for path in sorted(_paths):
        import_string(path)
