"""Lists on a phone: a few lines a row, and nothing that scrolls sideways."""

from __future__ import annotations

from typing import Any

import pytest

from syncs.models import HeldChange, RunState, SyncRun, TargetState
from tests import seeds
from tests.console.browser import LIGHT, NARROW, Window
from tests.rows import ended_run, run_part

HIGHEST = {"tenants/tenant": 5_000, "tenants/userroute": 6_500, "syncs/syncrun": 5_500}
HEIGHT = "() => document.scrollingElement.scrollHeight"
LINES = "() => document.querySelectorAll('#result_list > tbody > tr').length"
TRAIL = """() => [...document.querySelectorAll('#header-inner .truncate')]
    .filter(e => e.checkVisibility()).map(e => [e.textContent.trim(), e.offsetWidth])"""


def held_run() -> SyncRun:
    """A run that holds changes of fifty tenants of an instance, and a sample of ten."""
    run = ended_run("tenant_summaries", state=RunState.HELD)
    part: dict[str, Any] = {
        "note": "guard: 950 of 4,000 rows would be removed; the limit is 20 %",
        "held_counts": {"removed": 950, "moved": 4},
        "held_tenants": {
            "largest": [["1", str(at), {"removed": 90 - at, "moved": 4}] for at in range(50)],
            "others": 0,
            "changes": 0,
        },
    }
    run_part(run, "1", state=TargetState.HELD, **part)
    HeldChange.objects.bulk_create(
        HeldChange(run=run, target="1", kind="removed", source_id=str(at), detail="Acme")
        for at in range(10)
    )
    return run


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(240)
def test_fifty_tenants_of_a_held_run_are_a_few_screens(window: Window) -> None:
    seeds.fill(seeds.SMALL)
    window.look(NARROW, LIGHT)
    window.open(f"/admin/syncs/syncrun/{held_run().pk}/change/")
    rows = "() => document.querySelectorAll('[data-key=held-tenants] tbody tr').length"
    assert window.script(rows) == 50
    assert window.script("() => document.scrollingElement.scrollWidth <= innerWidth")
    assert window.script(HEIGHT) <= 5_000
    two_lines = """() => Math.max(...[...document.querySelectorAll('[data-key=held-tenants] tr')]
        .map(row => row.offsetHeight))"""
    assert window.script(two_lines) <= 50


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
