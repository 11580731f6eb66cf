"""Serves each instance below a path of its own: /rds2 is the root of instance 2."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "localfleet.application.settings"

from django.core.wsgi import get_wsgi_application

from localfleet.application.settings import INSTANCES

_django = get_wsgi_application()
_roots = {f"/rds{number}" for number in INSTANCES}


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Move the instance's path from what the application sees to where it is mounted."""
    root, separator, rest = environ["PATH_INFO"][1:].partition("/")
    if f"/{root}" not in _roots:
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"No such instance.\n"]
    environ |= {"SCRIPT_NAME": f"/{root}", "PATH_INFO": f"{separator}{rest}" or "/"}
    found: Iterable[bytes] = _django(environ, start)
    return found
