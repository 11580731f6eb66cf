"""Settings of the demo's application. All of them come from APPLICATION_… variables."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

# What a team would copy next to its manage.py.
sys.path.insert(0, str(Path(__file__).parents[2] / "deploy" / "support_access"))


def _database(known: dict[str, Any]) -> dict[str, Any]:
    """known: host, port, name, user and password of one instance's database."""
    options = {"connect_timeout": 5, "application_name": "application"}
    named = {key.upper(): value for key, value in known.items()}
    return {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options} | named


def instance_of(request: Any) -> int:
    """The instance of a request, by the path that it is served below."""
    return int(re.sub("[^0-9]", "", request.META["SCRIPT_NAME"]))


def alias_of(request: Any) -> str:
    return f"rds{instance_of(request)}"


def event_secret_of(request: Any) -> str:
    return EVENT_SECRETS.get(str(instance_of(request)), "")


def tenant_of(request: Any) -> str | None:
    """The tenant that an address names."""
    found = re.match("/tenants/([^/]+)", request.path_info)
    return found[1] if found else None


SECRET_KEY = os.environ["APPLICATION_SECRET_KEY"]
INSTANCES: dict[str, Any] = json.loads(os.environ["APPLICATION_DATABASES"])
EVENT_SECRETS: dict[str, str] = json.loads(os.environ["APPLICATION_EVENT_SECRETS"])
DATABASES = {f"rds{number}": _database(known) for number, known in INSTANCES.items()} | {
    "default": {"ENGINE": "django.db.backends.dummy"}
}
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "localfleet.application.urls"
INSTALLED_APPS = ["localfleet.application"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "rainbo_support.SupportAccess",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
# RAINBO's cookies have the usual names, and browsers share cookies between the ports of a host.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_NAME = "application_session"
CSRF_COOKIE_NAME = "application_csrf"
RAINBO_SUPPORT = {
    "issuer": os.environ["APPLICATION_ISSUER"],
    "keys": os.environ["APPLICATION_KEYS"],
    "instance": instance_of,
    "database": alias_of,
    "secret": event_secret_of,
    "tenant_of": tenant_of,
    "sign_in": lambda *_: None,  # views ask request.support
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
