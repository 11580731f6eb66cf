"""Other services, by Apprise: an optional package, which runs in a process of its own.

Apprise answers whether a message was accepted; of a refusal it gives neither a status nor a
reason, so that a deleted recipient and a service that is down look the same: both are tried again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings

from alerts import messages
from alerts.channels.apprise_services import Service, check_url
from alerts.channels.result import REFUSED, Result
from alerts.models import Channel, Content, Level, NoticeKind
from common import http
from common.errors import RainboError, UsageError

COMMAND: tuple[str, ...] = (
    sys.executable,
    "-I",  # neither this folder nor the environment adds modules
    str(Path(__file__).with_name("apprise_child.py")),
)
SECONDS = 30  # for a message; below the claim of the outbox
LONGEST = 1_500  # characters: what the services take without cutting or splitting
MISSING = "the package apprise is not installed: pip install 'rainbo[alerts]'"
# What may call somebody, or a whole room, when a name that we quote has it.
HARMLESS = str.maketrans({"@": "@\u200d", "<": "<\u200d"})


class AppriseFailed(RainboError):
    """The process that sends came to no result."""

    kind = "apprise"
    transient = True


def missing() -> str:
    """What must be installed before this kind can be used; empty if nothing."""
    return "" if find_spec("apprise") else MISSING


def send(channel: Channel, pk: str, content: Content, now: datetime) -> Result:
    try:
        url = channel.read_address()
        service = check_url(url)
        answer = _run(service, {"url": _with_identity(url, service, pk), **payload(content)})
    except RainboError as error:
        return Result(False, str(error))
    return _judge(service, answer, now)


def payload(content: Content) -> dict[str, str]:
    """The message for Apprise, which sends no title without a body."""
    text = messages.as_text(content, LONGEST).translate(HARMLESS)
    title, _, body = text.partition("\n\n")
    return {"title": title, "body": body.strip() or title, "type": _type(content)}


def check_address(url: str) -> str:
    """What is shown of a URL of one of the services. Raises RainboError for any other URL."""
    service = check_url(url)
    recipients = _run(service, {"url": url}).get("recipients")
    if recipients == 0:
        raise UsageError(f"Apprise does not understand this URL of {service.title}")
    if recipients != 1:  # of several, all would get a message again that one of them refused
        raise UsageError("the URL must have one recipient: add a channel for each")
    scheme, _, _ = url.partition("://")
    return f"{service.title}, {scheme.lower()}://***"


def _with_identity(url: str, service: Service, pk: str) -> str:
    if not service.identity:
        return url
    return f"{url}{'&' if '?' in url else '?'}{service.identity}={pk}"


def _type(content: Content) -> str:
    """Never `info` or `success`: some services only note these, and report them to nobody."""
    is_urgent = any(
        item["level"] == Level.URGENT.label and item["kind"] != NoticeKind.RESOLVED
        for item in content["incidents"]
    )
    return "failure" if is_urgent else "warning"


def _run(service: Service, job: dict[str, Any]) -> dict[str, Any]:
    """What the child process answers. The URL, a secret, goes in by its stdin alone."""
    if what := missing():
        raise AppriseFailed(what)
    job |= {"hosts": service.hosts, "ca": settings.RAINBO_HTTP_CA, "seconds": SECONDS}
    ended = subprocess.run(
        COMMAND,
        input=json.dumps(job).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.defpath, "LANG": "C.UTF-8", "NETRC": os.devnull},
        cwd="/",
        timeout=SECONDS + 10,  # it ends itself before
        check=False,
    )
    if ended.returncode == -signal.SIGALRM:
        raise AppriseFailed(f"{service.title} did not answer within {SECONDS} s")
    if ended.returncode:
        raise AppriseFailed(f"the process that sends to {service.title} failed")
    return dict(json.loads(ended.stdout))


def _judge(service: Service, answer: dict[str, Any], now: datetime) -> Result:
    if answer.get("status") == "SUCCESS":
        return Result(True, f"{service.title} accepted it")
    status = f" (it answered {answer['http']})" if answer.get("http") else " (no answer came)"
    wait = http.read_retry_after(answer.get("retry_after"), now)
    return Result(
        False,
        f"{service.title} did not accept it{status}",
        is_refused=answer.get("http") in REFUSED,
        retry_after=wait,
    )
