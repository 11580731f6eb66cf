"""Pictures of the console: `make screenshots` writes them, and `make test` leaves them alone.

docs/img gets the main pages; all pages in every look are in .cache/screenshots.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import seeds
from tests.console import fixed_time
from tests.console.browser import DARK, LIGHT, NARROW, WIDE
from tests.console.conftest import Enter
from tests.console.pages import PAGES

pytestmark = [
    pytest.mark.screenshots,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(900),
]
ROOT = Path(__file__).parents[2]
KEPT = ROOT / "docs" / "img"
ALL = ROOT / ".cache" / "screenshots"
NOON = datetime(2026, 11, 24, 12, 4, 30, tzinfo=UTC)
LOOKS = {
    "wide-light": (WIDE, LIGHT),
    "wide-dark": (WIDE, DARK),
    "narrow-light": (NARROW, LIGHT),
    "narrow-dark": (NARROW, DARK),
}
COMMITTED = ("wide-light", "wide-dark", "narrow-light")
HIGHEST = 1200  # of the pictures that are committed, in pixels


def test_pictures_of_all_pages(enter: Enter) -> None:
    for folder in (KEPT, ALL):
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("*.webp"), *folder.glob("*.png")):
            old.unlink()
    with fixed_time.at(NOON):
        seeds.fill(seeds.SMALL, NOON)
        windows = {who: enter(who.user()) for who in {page.who for page in PAGES}}
        for page in PAGES:
            url, window = page.url(), windows[page.who]
            assert url, page.name
            window.expects(page.gives)
            with page.as_set_up():
                window.open(url)
            for look, (width, mode) in LOOKS.items():
                window.look(width, mode)
                name = f"{page.slug}-{look}"
                window.picture(ALL / f"{name}.png")
                if page.pictured and look in COMMITTED:
                    window.picture(KEPT / f"{name}.webp", HIGHEST)
