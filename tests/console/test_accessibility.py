"""Every page of the console, wide and narrow, light and dark, full and empty."""

from __future__ import annotations

import pytest

from syncs import reconcile
from tests import seeds
from tests.console import accessibility
from tests.console.conftest import Enter
from tests.console.pages import PAGES, ROOMS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.mark.parametrize("room", ROOMS)
def test_pages_with_data_are_for_everyone(room: str, enter: Enter) -> None:
    seeds.fill(seeds.SMALL)
    judge(room, enter)


@pytest.mark.parametrize("room", ROOMS)
def test_empty_pages_are_for_everyone(room: str, enter: Enter) -> None:
    reconcile.reconcile()
    judge(room, enter)


def judge(room: str, enter: Enter) -> None:
    """Look at every page of the room; fail with all that is wrong."""
    found = []
    windows = {who: enter(who.user()) for who in {page.who for page in PAGES if page.room == room}}
    for page in PAGES:
        if page.room != room or (url := page.url()) is None:
            continue
        window = windows[page.who]
        window.expects(page.gives)
        window.open(url)
        found += [f"{page.name}: {words}" for words in accessibility.complaints(window)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)
