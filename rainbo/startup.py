"""What a configuration must be like for the console to start: commands check it by themselves."""

from __future__ import annotations

import functools
import sys
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core import checks
from django.core.checks import Tags

BOOT_ERROR = 3  # on which gunicorn stops, instead of starting the process again and again


def refuse_unusable() -> None:
    """End a process of the web server if a system check fails, and say which.

    Checks of the database are left to `/health/ready`: the console starts without it, too.
    """
    if found := [*failed_checks(), *missing_files()]:
        sys.stderr.write("\n".join(["RAINBO does not start:", *found, ""]))
        sys.exit(BOOT_ERROR)


@functools.cache
def failed_checks() -> tuple[str, ...]:
    """What `manage.py check` calls an error; settings don't change while a process lives."""
    return _failed(checks.run_checks())


def failed_database_checks() -> tuple[str, ...]:
    return _failed(checks.run_checks(tags=[Tags.database], databases=["default"]))


def missing_files() -> tuple[str, ...]:
    """Without its list of static files, every page would be an error."""
    storage: Any = staticfiles_storage
    if not settings.RAINBO_COLLECTED_STATIC or storage.read_manifest() is not None:
        return ()
    return ("The static files are not collected: run manage.py collectstatic --noinput",)


def _failed(messages: list[checks.CheckMessage]) -> tuple[str, ...]:
    return tuple(
        " ".join(filter(None, [f"{found.id}:", str(found.msg), found.hint]))
        for found in messages
        if found.level >= checks.ERROR and not found.is_silenced()
    )
