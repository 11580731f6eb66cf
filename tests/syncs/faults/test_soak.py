"""The long proofs, run by `make soak`: ten kills of each process, and one at the real pace.

The ten come with faults of the instances that a sync reads then: see `fronts`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.syncs.faults.fronts import Fronts, fronts
from tests.syncs.faults.names import TENANTS
from tests.syncs.faults.stage import REAL, Stage, Theatre, until
from tests.syncs.faults.test_kills import IN_TIME, VICTIMS, kill, settle, works

pytestmark = [pytest.mark.soak, pytest.mark.timeout(25 * 60)]
KILLS = 10
RETRIED = 25  # seconds of the retries of an instance that was away


@pytest.fixture(scope="module")
def places() -> Iterator[Fronts]:
    with fronts() as opened:
        yield opened


@pytest.mark.parametrize("victim", VICTIMS)
def test_ten_kills_at_random_moments(stage: Stage, places: Fronts, victim: str) -> None:
    chance = random.Random(victim)
    places.register(stage)
    work = works(stage)
    took = []
    for _ in range(KILLS):
        time.sleep(chance.uniform(0, 2))
        until(lambda: whole(stage))
        name, fault = places.draw(stage, chance)
        print(f"{victim}, {name}")
        took.append(kill(stage, work, victim, IN_TIME + RETRIED, TENANTS, fault))
        places.check(stage)
    settle(stage)
    print(f"\n{victim:12} {KILLS} kills: " + " ".join(f"{seconds:.1f}" for seconds in took), "s")


def whole(stage: Stage) -> bool:
    """A worker has beaten just now, so that all processes of the cluster are there."""
    alive = "SELECT 1 FROM syncs_heartbeat WHERE at > clock_timestamp() - interval '2.5 s'"
    return bool(stage.query(alive))


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
