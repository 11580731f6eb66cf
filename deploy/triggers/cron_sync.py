#!/usr/bin/env python3
"""Fetches model catalogues and their prices, or runs another sync of RAINBO, and waits for its end.

The same as cron_sync.sh, where Python 3.9 or newer is at hand and curl is not. Variables:

API_URL (or APP_URL)  where RAINBO serves; default: http://localhost:8000
ADMIN_KEY             a token with the scopes models:run and syncs:read;
                      or OPERATOR_TOKEN, or CRON_SECRET
SYNC_PATH             default: /admin/model-sync/all. `prices`: the address of prices, which names
                      the token by its public id
LOG_FILE              default: stderr alone; kept below LOG_MAX_BYTES, five of them
MIN_MODELS            fewer models than that are a failure; default: 0, which asks for nothing
DEBUG=1, ATTEMPTS, RETRY_SECONDS, REQUEST_SECONDS, WAIT_SECONDS and exit codes: as sync-cron.sh
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from logging.handlers import RotatingFileHandler
from typing import Any, NamedTuple

DONE, FAILED, MISCONFIGURED, IN_PART, NOTHING, BUSY = 0, 1, 2, 3, 4, 75
PASSING = (0, 429, 502, 503, 504)  # 0: no answer
LONGEST_PAUSE = 60
MOST_BYTES = 1_000_000

log = logging.getLogger("cron_sync")


class Stop(Exception):
    """Ends the call with an exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Answer(NamedTuple):
    status: int
    headers: Any
    document: dict[str, Any]


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token elsewhere, and a POST would become a GET."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Server:
    """RAINBO at an address, with a token that no log line shows."""

    def __init__(self, url: str, token: str, timeout: int) -> None:
        self.url, self.token, self.timeout = url, token, timeout
        self._opener = urllib.request.build_opener(NoRedirects)

    def send(self, method: str, path: str) -> Answer:
        """Send a request without a body. Raises Stop for what no repetition changes."""
        request = urllib.request.Request(  # noqa: S310 - the address was checked
            self.url + path,
            method=method,
            data=b"" if method == "POST" else None,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        signal.alarm(self.timeout)  # the opener's own limit counts from byte to byte
        try:
            with self._opener.open(request, timeout=self.timeout) as found:
                answer = Answer(found.status, found.headers, _document(found.read(MOST_BYTES)))
        except urllib.error.HTTPError as error:
            with error:
                answer = Answer(error.code, error.headers, _document(error.read(MOST_BYTES)))
        except (OSError, ValueError, HTTPException) as error:
            if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                raise Stop(MISCONFIGURED, f"{self.url} has no valid certificate") from None
            answer = Answer(0, {}, {})
        finally:
            signal.alarm(0)
        log.debug("method=%s path=%s status=%d", method, path, answer.status)
        if answer.status not in (200, 202, *PASSING):
            raise self._rejected(answer)
        return answer

    def detail(self, answer: Answer) -> str:
        text = str(answer.document.get("detail", "")).replace(self.token, "***")
        return "".join(one if one.isprintable() else " " for one in text)[:300]

    def _rejected(self, answer: Answer) -> Stop:
        detail = self.detail(answer)
        if answer.status == 401:
            text = f"RAINBO rejected the token: it is wrong, expired or revoked. {detail}"
            return Stop(MISCONFIGURED, text)
        if answer.status == 403:
            return Stop(MISCONFIGURED, f"The token may not do this. {detail}")
        if 300 <= answer.status < 400:
            return Stop(MISCONFIGURED, f"{self.url} redirects: give the final address, with https")
        return Stop(FAILED, f"RAINBO answered {answer.status}. {detail}")


def main() -> int:
    """Return the exit code."""
    signal.signal(signal.SIGALRM, _time_out)
    try:
        server = configure()
        path = sync_path(server.token)
        with alone(path):
            answer = finish(server, trigger(server, path))
            code, text = judge(answer)
            log.log(logging.INFO if code == DONE else logging.ERROR, "%s exit=%d", text, code)
            return code or enough_models(server)
    except Stop as stop:
        log.error("exit=%d %s", stop.code, stop)
        return stop.code
    except KeyboardInterrupt:
        return 130


def configure() -> Server:
    """Read the variables and open the log. Raises Stop."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    handlers[0].setLevel(logging.DEBUG if os.environ.get("DEBUG") == "1" else logging.ERROR)
    if path := os.environ.get("LOG_FILE"):
        size = number("LOG_MAX_BYTES", 1_000_000)
        try:
            os.umask(0o077)
            handlers.append(RotatingFileHandler(path, maxBytes=size, backupCount=5))
        except OSError as error:
            raise Stop(
                MISCONFIGURED, f"LOG_FILE {path} can't be written: {error.strerror}"
            ) from None
    call = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
    layout = logging.Formatter(f"%(asctime)s call={call} %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    layout.converter = time.gmtime
    for handler in handlers:
        handler.setFormatter(layout)
        log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    url = (
        os.environ.get("API_URL") or os.environ.get("APP_URL") or "http://localhost:8000"
    ).rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", url):
        raise Stop(MISCONFIGURED, "API_URL must begin with https:// and hold no secret")
    names = ("ADMIN_KEY", "OPERATOR_TOKEN", "CRON_SECRET")
    token = next((os.environ[name] for name in names if os.environ.get(name)), "")
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token):
        raise Stop(MISCONFIGURED, "ADMIN_KEY is not set, or has characters that no token has")
    return Server(url, token, number("REQUEST_SECONDS", 60))


def number(name: str, usual: int) -> int:
    text = os.environ.get(name) or str(usual)
    if not re.fullmatch(r"[0-9]{1,8}", text):
        raise Stop(MISCONFIGURED, f"{name} must be a whole number")
    return int(text)


def sync_path(token: str) -> str:
    path = os.environ.get("SYNC_PATH") or "/admin/model-sync/all"
    if path == "prices":
        public_id = token[:16] if re.match(r"rbo_[a-z0-9]{12}_", token) else "cron"
        return f"/admin/pricing/sync/{public_id}"
    if not re.fullmatch(r"/[^/\s][^\s]*", path):
        raise Stop(MISCONFIGURED, "SYNC_PATH must be an address such as /api/sync/bakalari")
    return path


class alone:  # noqa: N801 - a context manager that reads like a word
    """Holds a lock against a second call for the same address."""

    def __init__(self, path: str) -> None:
        name = re.sub(r"\W+", "-", path)
        folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - nothing is written to it
        kept = os.environ.get("LOG_FILE") or f"{folder}/rainbo-{os.getuid()}{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        try:
            self._file = os.open(f"{kept}.lock", flags, 0o600)
        except OSError as error:
            raise Stop(MISCONFIGURED, f"{kept}.lock can't be opened: {error.strerror}") from None

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Stop(BUSY, "Another call is running") from None

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def trigger(server: Server, path: str) -> Answer:
    """Request the sync, again if that failed for a reason that can pass. Raises Stop."""
    attempts, between = number("ATTEMPTS", 3), number("RETRY_SECONDS", 10)
    for attempt in range(1, max(attempts, 1) + 1):
        answer = server.send("POST", path)
        if answer.status not in PASSING:
            return answer
        if attempt < attempts:
            pause(answer, between * attempt)
    said = f"RAINBO answered {answer.status}" if answer.status else f"No answer from {server.url}"
    raise Stop(FAILED, f"{said}, at the last of {attempt} attempts. {server.detail(answer)}")


def finish(server: Server, answer: Answer) -> Answer:
    """Ask how the sync goes on until it has ended. Raises Stop."""
    limit = number("WAIT_SECONDS", 600)
    deadline, path = time.monotonic() + limit, ""
    while answer.status != 200:
        if answer.status == 202:
            path = answer.headers.get("Location") or ""
        if not re.match(r"/[^/]", path):
            raise Stop(FAILED, "The server named no address of its own to ask at")
        if time.monotonic() >= deadline:
            raise Stop(BUSY, f"The sync still runs after {limit} s: see {server.url}{path}")
        pause(answer, 2)
        answer = server.send("GET", path)
    return answer


def pause(answer: Answer, usual: int) -> None:
    """Wait as long as the server says, or as usual; a minute at most."""
    wanted = answer.headers.get("Retry-After") or ""
    seconds = max(int(wanted), 1) if re.fullmatch(r"[0-9]{1,5}", wanted) else usual
    time.sleep(min(seconds, LONGEST_PAUSE))


def judge(answer: Answer) -> tuple[int, str]:
    """The worst that a run came to decides; as in sync-cron.sh."""
    found = answer.document
    runs = found.get("runs") or ([found] if found.get("runId") else [])
    names = ",".join(str(run.get("runId")) for run in runs) or "none"
    states = {run.get("state") for run in runs} or {found.get("state")}
    success = found.get("success", False)
    if success is True:
        return DONE, f"run={names} sync_ok"
    if success is None and states == {None}:
        return NOTHING, f"run={names} sync_none: nothing is connected, so nothing was synced"
    if states - {"succeeded", "partial", "held", "skipped"} or states == {"succeeded"}:
        return FAILED, f"run={names} sync_fail: see the run in RAINBO"
    if states & {"partial", "held"}:
        return IN_PART, f"run={names} sync_fail: done in part, or held for review"
    return BUSY, f"run={names} sync_skipped: another run of the sync was in progress"


def enough_models(server: Server) -> int:
    """Compare the models that RAINBO has with MIN_MODELS; an unknown number is too few."""
    least = number("MIN_MODELS", 0)
    if not least:
        return DONE
    found = server.send("GET", "/admin/model-sync/status").document
    total = found.get("models", {}).get("stats", {}).get("total_active")
    if isinstance(total, int) and total >= least:
        log.info("models=%d", total)
        return DONE
    raise Stop(FAILED, f"RAINBO has {total} models, fewer than MIN_MODELS={least}")


def _time_out(*_: object) -> None:
    raise TimeoutError


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
