"""Seeded random faults, each proved to have bitten, and what must hold after each.

`make soak FAULTS=500 ARGS="-k random_faults"` inflicts 500 instead of 40. What was drawn is printed
after each part; `python -m tests.syncs.faults.table` sums up all that
.cache/faults.jsonl has.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

from tests.syncs.faults import table
from tests.syncs.faults.kinds import KINDS
from tests.syncs.faults.stage import Theatre, until
from tests.syncs.faults.world import HEALED_IN_TIME, World, world

SEED = os.environ.get("FAULTS_SEED") or "2026"
FAULTS = int(os.environ.get("FAULTS") or 40)
SHARE = 20  # of one test
MOST_DRAWS = 6  # of one fault, until it bites
pytestmark = [pytest.mark.soak, pytest.mark.timeout(SHARE * 60)]


@pytest.fixture
def place(house: Theatre) -> Iterator[World]:
    """An installation for each part, so that what one part broke is not the next one's fault."""
    with world(house) as opened:
        yield opened


@pytest.mark.parametrize("first", range(0, FAULTS, SHARE))
def test_random_faults(place: World, first: int) -> None:
    drawn = []
    for number in range(first, min(first + SHARE, FAULTS)):
        chance = random.Random(f"{SEED} {number}")
        for _ in range(MOST_DRAWS):
            drawn.append(play(place, number, kind_of(number), chance))
            table.keep(drawn[-1])
            if drawn[-1].bitten:
                break
        else:
            pytest.fail(f"fault {number} never bit")
    print("\n" + table.markdown(drawn))


def kind_of(number: int) -> str:
    """Each kind comes once, in random order, before any comes again."""
    turn, place = divmod(number, len(KINDS))
    return random.Random(f"{SEED} {turn}").sample([*KINDS], len(KINDS))[place]


def play(place: World, number: int, kind: str, chance: random.Random) -> table.Drawn:
    """Inflict a fault, and see that everything is well again."""
    began = time.monotonic()
    place.begin()
    fault = KINDS[kind](place, chance)
    try:
        fault.inflict()
        slot = place.make_slot()
        evidence = fault.evidence(slot)
    finally:
        fault.heal()
    outcome = "forgotten"
    if fault.keeps_slot or not evidence:
        until(lambda: place.has_ended(slot), HEALED_IN_TIME)
        outcome = place.attempts(slot)[-1][0]
        if fault.repeats and outcome != "succeeded":  # at worst, it was killed after its last part
            states = {state for _, state, *_ in place.parts(slot)}
            assert (outcome, states) == ("lost", {"succeeded"}), place.parts(slot)
        place.check_others(slot, fault.hit)
    place.publish()
    place.check()
    place.check_alerts(fault.alert if evidence else "")
    seconds = time.monotonic() - began
    print(f"{number:3} {kind}: {evidence or 'did not bite'} → {outcome} ({seconds:.1f} s)")
    return table.Drawn(number, kind, bool(evidence), outcome, seconds)
