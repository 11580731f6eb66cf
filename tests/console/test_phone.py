"""Lists on a phone: a few lines a row, and nothing that scrolls sideways."""

from __future__ import annotations

import pytest

from tests import seeds
from tests.console.browser import LIGHT, NARROW, Window

HIGHEST = {"tenants/tenant": 5_000, "tenants/userroute": 6_500, "syncs/syncrun": 5_500}
HEIGHT = "() => document.scrollingElement.scrollHeight"
LINES = "() => document.querySelectorAll('#result_list > tbody > tr').length"
TRAIL = """() => [...document.querySelectorAll('#header-inner .truncate')]
    .filter(e => e.checkVisibility()).map(e => [e.textContent.trim(), e.offsetWidth])"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(240)
def test_fifty_rows_of_a_list_are_a_few_screens(window: Window) -> None:
    seeds.fill(seeds.SMALL)
    window.look(NARROW, LIGHT)
    found = {}
    for address in HIGHEST:
        window.open(f"/admin/{address}/")
        assert window.script(LINES) == 50
        assert window.script("() => document.scrollingElement.scrollWidth <= innerWidth")
        found[address] = window.script(HEIGHT)
    assert {a: height for a, height in found.items() if height > HIGHEST[a]} == {}
    window.open("/admin/monitoring/")
    narrow = "() => [...document.querySelectorAll('.now-more :is(p, svg)')].map(e => e.clientWidth)"
    widths = window.script(narrow)
    assert widths
    assert min(widths) > 250  # as wide as the card: not five columns of a letter each
    window.open("/admin/tenants/rdsinstance/1/change/")
    (above, width), (here, _) = window.script(TRAIL)
    assert above == "Instances"
    assert here.startswith("Instance 1")
    assert width > 60  # read whole: not `Insta…`
