"""Chromium by Playwright, in a thread of its own.

Playwright's synchronous calls run an event loop in their thread, and Django refuses its database
to threads that have one: in a thread of its own neither is in the other's way.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    sync_playwright,
)

T = TypeVar("T")
WIDE, NARROW = 1280, 390
HEIGHTS = {WIDE: 900, NARROW: 844}
LIGHT: Final = "light"
DARK: Final = "dark"
LEFT_IN_TIME = "net::ERR_ABORTED"  # a request that ended because its page was left
TIMEOUT = 20_000  # milliseconds
QUALITY = 50  # of pictures, in percent


class Chromium:
    """The browser, and the only thread that may speak to it."""

    def __init__(self, thread: ThreadPoolExecutor, browser: Browser) -> None:
        self._thread = thread
        self.browser = browser

    def do(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()


@contextmanager
def chromium(path: str) -> Iterator[Chromium]:
    with ThreadPoolExecutor(1, thread_name_prefix="browser") as thread:
        playwright = thread.submit(lambda: sync_playwright().start()).result()
        try:
            browser = thread.submit(
                lambda: playwright.chromium.launch(
                    executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
                )
            ).result()
            yield Chromium(thread, browser)
            thread.submit(browser.close).result()
        finally:
            thread.submit(playwright.stop).result()


class Window:
    """One page in a profile of its own. Elements are named by Playwright's selectors.

    complaints: what the browser held against the pages: errors, refused sources, failed requests,
    and requests to other hosts.
    """

    def __init__(self, chromium: Chromium, site: str, *, scripts: bool = True) -> None:
        self._chromium = chromium
        self.site = site
        self.complaints: list[str] = []
        self._allowed: set[int] = set()
        self._others: tuple[str, ...] = ()
        self._page: Page = chromium.do(lambda: self._make(scripts))

    def _make(self, scripts: bool) -> Page:
        context = self._chromium.browser.new_context(
            viewport=ViewportSize(width=WIDE, height=HEIGHTS[WIDE]),
            color_scheme=LIGHT,
            reduced_motion="reduce",
            java_script_enabled=scripts,
            timezone_id="UTC",
            locale="en-GB",
        )
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", self._asked)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)
        return page

    def _note(self, message: str) -> None:
        # The browser says so itself of each answer that _answered judges.
        if not message.startswith("Failed to load resource"):
            self.complaints.append(message)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(message.text)

    def _asked(self, request: Request) -> None:
        own = (self.site, "data:", "blob:", "about:")
        if not request.url.startswith((*own, *self._others)):
            self._note(f"asked another host: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != LEFT_IN_TIME:
            self._note(f"{request.url} failed: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._allowed:
            self._note(f"{response.url} gave {response.status}")

    def do(self, work: Callable[[Page], T]) -> T:
        """Anything that Playwright can do, in the browser's thread."""
        return self._chromium.do(lambda: work(self._page))

    def expects(self, *statuses: int) -> None:
        """Answers that are no complaint."""
        self._allowed |= set(statuses)

    def visits(self, *sites: str) -> None:
        """Other sites that a page of ours leads to."""
        self._others += sites

    def sign_in(self, session_key: str) -> None:
        cookie: Any = {"name": "sessionid", "value": session_key, "url": self.site}
        self.do(lambda page: page.context.add_cookies([cookie]))

    def open(self, path: str) -> None:
        self.do(lambda page: page.goto(self.site + path))

    def look(self, width: int, mode: str, *, whole: bool = False) -> None:
        """See what is open at this width and in this mode; whole: on a screen as high as it.

        The theme follows the system's mode when a page is opened; here its class is set.
        """
        self._resize(width, HEIGHTS[width])
        self.do(lambda page: page.emulate_media(color_scheme="dark" if mode == DARK else "light"))
        toggle = "mode => document.documentElement.classList.toggle('dark', mode === 'dark')"
        self.script(toggle, mode)
        if whole:
            self._resize(width, self.script("() => document.scrollingElement.scrollHeight"))

    def _resize(self, width: int, height: int) -> None:
        size = ViewportSize(width=width, height=height)
        self.do(lambda page: page.set_viewport_size(size))

    @property
    def url(self) -> str:
        return self.do(lambda page: page.url)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    def text(self) -> str:
        return " ".join(self.do(lambda page: page.inner_text("body")).split())

    def click(self, selector: str) -> None:
        """Click it and wait for the page that it leads to."""

        def work(page: Page) -> None:
            with page.expect_navigation():
                page.click(selector)

        self.do(work)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.do(lambda page, key=key: page.keyboard.press(key))  # type: ignore[misc]

    def let_refresh(self, part: str, milliseconds: int) -> None:
        """On a page whose clock is installed: let its next refresh come, and be done."""

        def work(page: Page) -> None:
            with page.expect_response(part):
                page.clock.fast_forward(milliseconds)

        self.do(work)

    def type(self, text: str) -> None:
        self.do(lambda page: page.keyboard.type(text))

    def fill(self, selector: str, value: str) -> None:
        self.do(lambda page: page.fill(selector, value))

    def choose(self, selector: str, value: str) -> None:
        self.do(lambda page: page.select_option(selector, value))

    def is_shown(self, selector: str) -> bool:
        return self.do(lambda page: page.locator(selector).filter(visible=True).count() > 0)

    def script(self, script: str, argument: Any = None) -> Any:
        return self.do(lambda page: page.evaluate(script, argument))

    def wait_for(self, script: str) -> None:
        self.do(lambda page: page.wait_for_function(script))

    def picture(self, path: Path, highest: int | None = None) -> None:
        """Of the whole page, or of its first pixels."""
        width, height = self.script(
            "() => [innerWidth, Math.max(innerHeight, document.scrollingElement.scrollHeight)]"
        )
        self._resize(width, min(height, highest or height))
        kind = path.suffix.removeprefix(".")
        asked = {"format": kind} | ({"quality": QUALITY} if kind == "webp" else {})
        made = self.do(
            lambda page: page.context.new_cdp_session(page).send("Page.captureScreenshot", asked)
        )
        path.write_bytes(b64decode(made["data"]))

    def close(self) -> None:
        self.do(lambda page: page.context.close())
