"""A real browser for tests: Chromium, told what to do over WebDriver's own protocol."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for a reference to an element
STARTED = re.compile(r"started successfully on port (\d+)")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def found() -> tuple[str, str] | None:
    """Chromium and its driver; None where one of them is missing."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One window. Elements are named by CSS; each call waits until a page has loaded."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, url: str) -> None:
        self._post("url", {"url": url})

    @property
    def url(self) -> str:
        return str(_call("GET", f"{self._session}/url"))

    def text(self) -> str:
        return " ".join(str(self.script("return document.body.innerText")).split())

    def click(self, css: str) -> None:
        """Click it, and wait for the page that it leads to."""
        found = self._find(css)
        self._post("execute/sync", {"script": _PREPARE, "args": [{ELEMENT: found}]})
        self._post(f"element/{found}/click", {})
        self._post("execute/async", {"script": _ARRIVED, "args": []})

    def fill(self, css: str, text: str) -> None:
        """Write into a field, or choose of a list, as a person's input would."""
        element = {ELEMENT: self._find(css)}
        self._post("execute/sync", {"script": _FILL, "args": [element, text]})

    def is_shown(self, css: str) -> bool:
        script = (
            "return [...document.querySelectorAll(arguments[0])].some(e => e.checkVisibility())"
        )
        return bool(self._post("execute/sync", {"script": script, "args": [css]}))

    def script(self, script: str) -> Any:
        return self._post("execute/sync", {"script": script, "args": []})

    def log_in(self, site: str, session_key: str) -> None:
        self.open(f"{site}/admin/login/")
        self._post("cookie", {"cookie": {"name": "sessionid", "value": session_key}})

    def complaints(self) -> list[str]:
        """What the browser's console has held against the pages: errors, refused sources."""
        lines = self._post("se/log", {"type": "browser"})
        return [line["message"] for line in lines if line["level"] == "SEVERE"]

    def resize(self, width: int, height: int) -> None:
        self._post("window/rect", {"width": width, "height": height})

    def picture(self, path: Path) -> None:
        path.write_bytes(b64decode(_call("GET", f"{self._session}/screenshot")))

    def _find(self, css: str) -> str:
        found: dict[str, str] = self._post("element", {"using": "css selector", "value": css})
        return found[ELEMENT]

    def _post(self, what: str, body: dict[str, Any]) -> Any:
        return _call("POST", f"{self._session}/{what}", body)


_FILL = """
const [field, value] = arguments;
field.value = value;
field.dispatchEvent(new Event('input', {bubbles: true}));
field.dispatchEvent(new Event('change', {bubbles: true}));
"""
_PREPARE = """
window.left = true;
arguments[0].scrollIntoView({block: 'center', behavior: 'instant'});
"""
_ARRIVED = """
const done = arguments[arguments.length - 1];
(function look(left) {
    if (!window.left && document.readyState === 'complete') return done(true);
    if (!left) return done(false);
    setTimeout(look, 50, left - 1);
})(100);
"""


@contextmanager
def window(browser: str, driver: str) -> Iterator[Browser]:
    """A browser with an empty profile, gone at the end."""
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        address = f"http://127.0.0.1:{_port(process)}"
        wanted = {
            "goog:chromeOptions": {"binary": browser, "args": list(OPTIONS)},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        body = {"capabilities": {"alwaysMatch": wanted}}
        session = f"{address}/session/{_call('POST', f'{address}/session', body)['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _call("DELETE", session)
    finally:
        process.terminate()
        process.communicate()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if match := STARTED.search(line):
            return int(match[1])
    raise AssertionError("chromedriver ended before it began")


def _call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except HTTPError as refused:
        message = json.load(refused)["value"]["message"].partition("\n")[0]
        raise AssertionError(f"{method} {url.rpartition('/')[2]}: {message}") from refused
