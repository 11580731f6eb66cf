"""Reports what is done in support sessions to RAINBO: copy it next to rainbo_support.py.

No request waits for RAINBO: events wait in memory, and a thread of their own sends them. A process
that ends sends what is left, once.
"""

from __future__ import annotations

import atexit
import hashlib
import hmac
import json
import logging
import re
import time
import urllib.request
import uuid
from collections import deque
from datetime import UTC, datetime
from http.client import HTTPException
from threading import Condition, Lock, Thread
from typing import Any

log = logging.getLogger("rainbo_support")
MOST = 1_000  # events that wait; what comes then is lost
AT_ONCE = 20  # in one request: they fit into 64 KiB, whatever they say
PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds from one request to the next; after it failed


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is signed for RAINBO goes nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Reporter:
    """issuer: RAINBO's address. secret: of this instance (manage.py application_secret)."""

    def __init__(self, issuer: str, instance: int, secret: str) -> None:
        if not re.match(r"https://|http://(localhost|127\.0\.0\.1|\[::1\])([:/]|$)", issuer):
            raise ValueError("RAINBO's events: send them with https")
        self.address, self.instance, self.secret = f"{issuer}/api/v1/activity", instance, secret
        self.opener = urllib.request.build_opener(NoRedirect)
        self.events: deque[dict[str, str]] = deque()
        self.changed, self.sending, self.thread = Condition(), Lock(), Thread()
        atexit.register(self.send)

    def add(self, session: Any, action: str, text: str = "") -> None:
        """Report an action of a session, such as invoice.viewed."""
        shown = "".join(sign if sign.isprintable() else " " for sign in text)[:500]
        event = {"id": str(uuid.uuid4()), "at": datetime.now(UTC).isoformat(), "text": shown}
        event |= {"action": re.sub("[^a-z0-9._:-]", "_", action.lower())[:100] or "unnamed"}
        event |= {"session": session.jti, "tenant": session.tenant_id, "user": session.ghost_id}
        with self.changed:
            if len(self.events) >= MOST:
                log.error("an event of a support session is lost: %s wait already", MOST)
                return
            self.events.append(event)
            if not self.thread.is_alive():  # begun here: a server may fork before its first request
                self.thread = Thread(target=self.run, daemon=True)
                self.thread.start()
            self.changed.notify()

    def run(self) -> None:
        pause = PAUSE
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.events)
            pause = PAUSE if self.send() else min(pause * 2, LONGEST_PAUSE)
            time.sleep(pause)

    def send(self) -> bool:
        """Send those that wait longest; return whether they are done with."""
        with self.sending:
            with self.changed:
                batch = list(self.events)[:AT_ONCE]
            if batch and not self.post(json.dumps({"events": batch}, ensure_ascii=False).encode()):
                return False
            for _ in batch:
                self.events.popleft()
            return True

    def post(self, body: bytes) -> bool:
        """Return whether RAINBO has answered, and would not answer otherwise the next time."""
        at = str(int(time.time()))
        mac = hmac.new(self.secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Rainbo-Instance": str(self.instance)}
        headers |= {"X-Rainbo-Timestamp": at, "X-Rainbo-Signature": f"v1={mac}"}
        request = urllib.request.Request(self.address, body, headers)  # noqa: S310 (checked above)
        try:
            self.opener.open(request, timeout=5).close()
        except (OSError, HTTPException) as error:
            status = getattr(error, "code", 0)
            log.error("RAINBO did not take events: %s", status or type(error).__name__)
            return 0 < status < 500 and status != 429
        return True
