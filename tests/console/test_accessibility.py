"""Every page of the console, wide and narrow, light and dark, full and empty."""

from __future__ import annotations

import pytest

from syncs import reconcile
from tests import seeds
from tests.console import accessibility
from tests.console.browser import Window
from tests.console.conftest import Enter
from tests.console.pages import PAGES, ROOMS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.mark.parametrize("room", ROOMS)
def test_pages_with_data_are_for_everyone(room: str, window: Window, enter: Enter) -> None:
    seeds.fill(seeds.SMALL)
    judge(room, window, enter(None))


@pytest.mark.parametrize("room", ROOMS)
def test_empty_pages_are_for_everyone(room: str, window: Window, enter: Enter) -> None:
    reconcile.reconcile()
    judge(room, window, enter(None))


def judge(room: str, window: Window, stranger: Window) -> None:
    """Look at every page of the room; fail with all that is wrong."""
    found = []
    for page in PAGES:
        if page.room != room or (url := page.url()) is None:
            continue
        visitor = stranger if page.is_open else window
        visitor.expects(page.gives)
        visitor.open(url)
        found += [f"{page.name}: {words}" for words in accessibility.complaints(visitor)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)
