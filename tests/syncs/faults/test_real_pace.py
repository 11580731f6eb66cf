"""One kill of each process at the real pace; test_random_faults.py has many at another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.syncs.faults.stage import REAL, Theatre, until
from tests.syncs.faults.test_kills import VICTIMS, kill, works

pytestmark = [pytest.mark.soak, pytest.mark.timeout(25 * 60)]


def test_one_kill_of_each_process_at_the_real_pace(house: Theatre) -> None:
    """Six installations at once: the next due sync completes within five minutes."""

    def once(victim: str) -> float:
        with house.stage(REAL | {"FAULTS_BUSY": "30"}) as stage:
            work = works(stage)
            took = kill(stage, work, victim, 5 * 60)
            until(lambda: stage.verdict().is_clean, 5 * 60)
            return took

    with ThreadPoolExecutor(len(VICTIMS)) as pool:
        took = dict(zip(VICTIMS, pool.map(once, VICTIMS), strict=True))
    print("\nkilled       next due sync completed after")
    for victim, seconds in took.items():
        print(f"{victim:12} {seconds:6.0f} s")
    assert max(took.values()) < 5 * 60
