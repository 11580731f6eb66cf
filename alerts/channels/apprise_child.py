"""Sends one message by Apprise. A program of its own, which `apprise.py` starts for each message.

Apart, because Apprise loads some 190 modules, logs URLs with their secrets at DEBUG, and may hang
where a service answers slowly: here it has no logs, no database, no secrets of others, and an end.
It imports nothing of RAINBO. stdin: the job as JSON: url, hosts (those that may be reached), ca,
seconds, and title, body and type of the message; without a body, the URL is only checked. stdout:
the result as JSON: recipients (how many the URL has; 0: Apprise does not understand it), and for a
message status (of Apprise's result), http and retry_after (of the last answer, if one came).
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import requests
from requests_hardened.ip_filter_adapter import IPFilterAdapter

TIMEOUT = (5, 10)  # seconds to connect, and between two pieces of an answer
LARGEST = 1_000_000  # bytes of an answer


class Guard(IPFilterAdapter):
    """All of Apprise's requests pass here: to the service's hosts alone, verified and bounded."""

    job: dict[str, Any]
    answers: list[requests.Response]

    def __init__(self) -> None:
        super().__init__(is_https_proto=True)

    def send(self, request: Any, *_: Any, **__: Any) -> requests.Response:
        self.check(request.url)
        response = self.exchange(request)
        response.raw = io.BytesIO(response.raw.read(LARGEST, decode_content=True))
        self.answers.append(response)
        if response.is_redirect:  # else a login page at its end would count as accepted
            raise requests.exceptions.TooManyRedirects("no redirect is followed")
        return response

    def check(self, url: str) -> None:
        """Raise InvalidURL for an address that is none of the service's."""
        place = requests.compat.urlsplit(url)
        host = (place.hostname or "").lower()
        named = any(
            host.endswith(one) if one.startswith(".") else host == one for one in self.job["hosts"]
        )
        if place.scheme != "https" or place.port not in (None, 443) or not named:
            raise requests.exceptions.InvalidURL("not an address of this service")

    def exchange(self, request: Any) -> requests.Response:
        given = {"stream": True, "timeout": TIMEOUT, "verify": self.job["ca"], "proxies": {}}
        response: requests.Response = super().send(request, **given)
        return response


def main(guard: type[Guard] = Guard) -> None:
    result = sys.stdout.fileno()
    out = os.fdopen(os.dup(result), "w", encoding="utf-8")
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), result)  # what a plugin prints is no result
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    job = json.load(sys.stdin)
    signal.alarm(job["seconds"])  # also when nobody waits for the result any longer
    guard.job, guard.answers = job, []
    requests.sessions.HTTPAdapter = guard
    json.dump(run(job, guard.answers), out)
    out.close()


def run(job: dict[str, Any], answers: list[requests.Response]) -> dict[str, Any]:
    import apprise  # only now: it takes its classes of requests as they are

    asset = apprise.AppriseAsset(
        app_id="RAINBO",
        app_desc="RAINBO",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        http_redirects=False,
        storage_mode="memory",
        allow_templates=False,
    )
    service: Any = apprise.Apprise.instantiate(job["url"], asset=asset)
    recipients = len(service) if service else 0
    if not service or "body" not in job:
        return {"recipients": recipients}
    if getattr(service, "source", "") == "Apprise":  # PagerDuty's default
        service.source = "RAINBO"
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    status = sender.notify(
        title=job["title"],
        body=job["body"],
        notify_type=apprise.NotifyType(job["type"]),
        body_format=apprise.NotifyFormat.TEXT,
        interpret_escapes=False,
    ).status
    last = answers[-1] if answers else None
    return {
        "recipients": recipients,
        "status": status.name,
        "http": last.status_code if last is not None else None,
        "retry_after": last.headers.get("Retry-After") if last is not None else None,
    }


if __name__ == "__main__":
    main()
