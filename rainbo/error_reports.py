"""Reports errors to Sentry, or to a service that takes the same, if RAINBO_SENTRY_DSN is set.

What leaves RAINBO is where an error happened, of which kind it was, and what was logged before:
without local variables, bodies, headers, cookies, queries, people, e-mail addresses and secrets.
The package is an optional extra; without the setting, nothing of it is loaded.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from django.conf import settings

from common import http
from common.errors import RainboError
from common.http import Limits
from common.redaction import hide_emails, redact, redact_value

logger = logging.getLogger("rainbo.error_reports")

LIMITS = Limits(connect=5, read=5, total=10, size=10_000)
MISSING = "RAINBO_SENTRY_DSN is set, but the package sentry-sdk is not installed."
INVALID = "RAINBO_SENTRY_DSN is no DSN of Sentry."
QUEUED = 30  # reports that wait to be sent
OF_CRUMB = ("type", "level", "category", "timestamp")
OF_REQUEST = ("method", "url")
DROPPED = ("user", "extra", "breadcrumbs", "modules")  # breadcrumbs come back cleaned
NOTHING_WRONG = "django.security"  # rejected requests: no fault of the code


def problem() -> str:
    """What is wrong with the setting, without its value; empty if nothing is, or it is not set."""
    if not settings.RAINBO_SENTRY_DSN:
        return ""
    if find_spec("sentry_sdk") is None:
        return MISSING
    from sentry_sdk.utils import BadDsn, Dsn

    try:
        Dsn(settings.RAINBO_SENTRY_DSN)
    except (BadDsn, ValueError):
        return INVALID
    return ""


def start() -> None:
    """Report errors from now on. A setting that is wrong is logged, and nothing is reported."""
    if not settings.RAINBO_SENTRY_DSN:
        return
    if wrong := problem():
        logger.warning("%s No error is reported.", wrong)
        return
    import sentry_sdk
    from sentry_sdk.integrations.argv import ArgvIntegration
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.django import DjangoIntegration
    from sentry_sdk.integrations.stdlib import StdlibIntegration

    from common.version import version

    sentry_sdk.init(
        dsn=settings.RAINBO_SENTRY_DSN,
        transport=_transport(),
        release=f"rainbo@{version()}",  # else Sentry runs git to find one
        include_local_variables=False,
        max_request_body_size="never",
        # send_default_pii is off by default; saying so is deprecated.
        before_send=clean_event,
        before_breadcrumb=clean_breadcrumb,
        auto_enabling_integrations=False,
        integrations=[
            DjangoIntegration(middleware_spans=False, signals_spans=False, cache_spans=False),
            AtexitIntegration(callback=lambda _pending, _timeout: None),  # it would write to stderr
        ],
        # Arguments may hold secrets; requests that go out are none of Sentry's business.
        disabled_integrations=[ArgvIntegration, StdlibIntegration],
        auto_session_tracking=False,
        send_client_reports=False,
        trace_propagation_targets=[],
    )


def clean_event(event: Any, _: object) -> Any:
    """What may leave RAINBO of an event; None: nothing."""
    if str(event.get("logger", "")).startswith(NOTHING_WRONG):
        return None
    kept = {name: value for name, value in event.items() if name not in DROPPED}
    if request := kept.get("request"):
        kept["request"] = {name: request[name] for name in OF_REQUEST if name in request}
    if entry := kept.get("logentry"):  # the arguments are in the message already
        kept["logentry"] = {"message": _first_line(entry.get("formatted") or entry["message"])}
    for error in kept.get("exception", {}).get("values", ()):
        # PostgreSQL quotes whole rows in the lines that follow.
        error["value"] = _first_line(error.get("value"))
    crumbs = event.get("breadcrumbs") or {}
    values = crumbs.get("values", ()) if isinstance(crumbs, Mapping) else crumbs
    cleaned = _clean(redact_value("", {**kept, "breadcrumbs": {"values": list(values)}}))
    return dict(cleaned)


def clean_breadcrumb(crumb: Any, _: object) -> Any:
    """What may leave RAINBO of a log line; no SQL statement: it may have values in it."""
    category = str(crumb.get("category", ""))
    if category == "query" or category.startswith(NOTHING_WRONG):
        return None
    kept = {
        name: crumb[name] for name in ("type", "level", "category", "timestamp") if name in crumb
    }
    return dict(_clean(redact_value("", {**kept, "message": _first_line(crumb.get("message"))})))


def _first_line(text: object) -> str:
    first, _, _ = str(text or "").partition("\n")
    return first


def _clean(value: Any) -> Any:
    """A value without e-mail addresses, in any depth."""
    if isinstance(value, dict):
        return {name: _clean(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return hide_emails(redact(value)) if isinstance(value, str) else value


def _transport() -> Any:
    """The way to Sentry: by the one HTTP client, in a thread that nobody waits for."""
    from sentry_sdk.consts import VERSION
    from sentry_sdk.transport import Transport
    from sentry_sdk.worker import BackgroundWorker

    class ByOurClient(Transport):
        def __init__(self, options: Any = None) -> None:
            super().__init__(options)
            self._worker = BackgroundWorker(queue_size=QUEUED)
            self._wait_until = 0.0

        def capture_envelope(self, envelope: Any) -> None:
            body = envelope.serialize()
            self._worker.submit(lambda: self._send(body))

        def flush(self, timeout: float, callback: Callable[..., Any] | None = None) -> None:
            self._worker.flush(timeout, callback)

        def kill(self) -> None:
            self._worker.kill()

        def _send(self, body: bytes) -> None:
            if self.parsed_dsn is None or time.monotonic() < self._wait_until:
                return
            auth = self.parsed_dsn.to_auth(f"sentry.python/{VERSION}")
            headers = {
                "Content-Type": "application/x-sentry-envelope",
                "X-Sentry-Auth": str(auth.to_header()),
            }
            try:
                answer = http.send(
                    "POST",
                    auth.get_api_url(),
                    body=body,
                    headers=headers,
                    limits=LIMITS,
                    cut=True,
                )
            except RainboError:  # logged there; an error of ours would be reported again
                return
            if answer.status == 429:
                wait = answer.retry_after.total_seconds() if answer.retry_after else 60.0
                self._wait_until = time.monotonic() + min(wait, 3600.0)

    return ByOurClient
