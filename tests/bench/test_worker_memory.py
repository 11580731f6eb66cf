"""How samples of the workers' memory are judged, and how they are taken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from bench.measurements.worker_memory import summary
from bench.testbed.process_usage import descendants, shares

NESTED = "import subprocess; print(flush=True); subprocess.run(['sleep', '60'])"


@pytest.mark.parametrize(
    ("each", "grown", "held"),
    [
        ([10, 60, 60, 60, 60, 60, 60, 60], 1, [True, True]),  # loading counts for no growth
        ([60, 60, 60, 60, 61, 62, 64, 66], 70 / 65, [True, False]),
        ([60, 60, 91, 91, 60, 60, 60, 60], 65 / 96, [False, True]),
        ([50], 1, [True, True]),
    ],
)
def test_the_last_quarter_is_compared_with_the_second(
    each: list[float], grown: float, held: list[bool]
) -> None:
    largest, growth = summary([[most, 5] for most in each], {"succeeded": 8}).bars
    assert largest.found == max(each)
    assert growth.found == pytest.approx(grown)
    assert [largest.held, growth.held] == held


def test_a_process_and_its_descendants_are_measured() -> None:
    with subprocess.Popen([sys.executable, "-c", NESTED], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            child.stdout.readline()
            while len(family := descendants(child.pid)) < 2:
                assert child.poll() is None
            assert set(family) < set(descendants(os.getpid()))
            gone = 2**22 + 1  # beyond the largest that Linux gives
            taken = shares([*family, gone])
            assert taken.keys() == set(family)
            assert taken[child.pid] > taken[family[1]] > 0
        finally:
            for pid in reversed(descendants(child.pid)):
                os.kill(pid, signal.SIGKILL)
