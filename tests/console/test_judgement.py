"""The judgement of pages finds what is wrong: else nothing found would prove nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.console import accessibility
from tests.console.browser import Chromium, Window

GOOD = """<!DOCTYPE html><html lang="en"><head><title>Page</title>
<meta name="viewport" content="width=device-width">
<style>button { min-height: 2rem; min-width: 2rem } .dark { background: #111; color: #eee }</style>
</head><body><main><h1>Page</h1>%s</main></body></html>"""
WRONGS = {
    "color-contrast": '<p style="color: #bbb; background: #fff">pale</p>',
    "light: color-contrast": '<p style="color: #eee">pale by day</p>',
    "dark: color-contrast": '<p style="color: #333">pale by night</p>',
    "button-name": "<button></button>",
    "target-size": '<a href="#a" style="font: 8px A">a</a><a href="#b" style="font: 8px A">b</a>',
    "scrolls sideways": '<p style="width: 400px">wide</p>',
    "focus can't be seen": '<button style="outline: none">Go</button>',
    "2 main landmarks": '<div role="main">again</div>',
    "2 headings": "<h1>Again</h1>",
}


@pytest.fixture
def window(chromium: Chromium) -> Iterator[Window]:
    opened = Window(chromium, "about:blank")
    yield opened
    opened.close()


def test_a_good_page_has_no_complaint(window: Window) -> None:
    window.do(lambda page: page.set_content(GOOD % "<button>Go</button>"))
    assert list(accessibility.complaints(window)) == []


@pytest.mark.parametrize("expected", WRONGS)
def test_what_is_wrong_is_named(expected: str, window: Window) -> None:
    window.do(lambda page: page.set_content(GOOD % WRONGS[expected]))
    assert expected in "\n".join(accessibility.complaints(window))


def test_what_a_browser_holds_against_a_page_is_kept(window: Window) -> None:
    window.do(lambda page: page.set_content("<script>missing()</script>"))
    window.do(lambda page: page.set_content("<img src='http://127.0.0.1:9/picture.png'>"))
    assert "missing is not defined" in window.complaints[0]
    assert "asked another host: http://127.0.0.1:9/picture.png" in window.complaints
