"""Every page of the console, wide and narrow, light and dark, full and empty."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from syncs.dispatch import reconcile
from tests import seeds
from tests.console import accessibility
from tests.console.conftest import Enter
from tests.console.pages import PAGES, ROOMS, Page

# The pages that are looked at most; `make soak` has time for all.
MOST = {"now", "find"}
SOONER_OR_LATER = [
    pytest.param(room, marks=() if room in MOST else pytest.mark.soak) for room in ROOMS
]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@pytest.mark.parametrize("room", SOONER_OR_LATER)
def test_pages_with_data_are_for_everyone(room: str, enter: Enter) -> None:
    seeds.fill(seeds.SMALL)
    judge(room, enter, [page for page in PAGES if page.pictured or not page.query])


@pytest.mark.soak
@pytest.mark.parametrize("room", ROOMS)
def test_pages_that_were_searched_are_for_everyone(room: str, enter: Enter) -> None:
    seeds.fill(seeds.SMALL)
    judge(room, enter, [page for page in PAGES if page.query and not page.pictured])


@pytest.mark.soak
@pytest.mark.parametrize("room", ROOMS)
def test_empty_pages_are_for_everyone(room: str, enter: Enter) -> None:
    reconcile.reconcile()
    judge(room, enter, PAGES)


def judge(room: str, enter: Enter, pages: Iterable[Page]) -> None:
    """Look at those of the pages that are in the room; fail with all that is wrong."""
    found = []
    here = [page for page in pages if page.room == room]
    windows = {who: enter(who.user()) for who in {page.who for page in here}}
    for page in here:
        if (url := page.url()) is None:
            continue
        window = windows[page.who]
        window.expects(page.gives)
        with page.as_set_up():
            window.open(url)
        found += [f"{page.name}: {complaint}" for complaint in accessibility.complaints(window)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)
