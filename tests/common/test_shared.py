from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from common import shared
from common.shared import Shared


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SECONDS", 1.0)


def test_those_who_ask_at_once_get_one_reading() -> None:
    kept: Shared[int] = Shared()
    readings: list[int] = []

    def read() -> int:
        readings.append(len(readings))
        time.sleep(0.05)
        return readings[-1]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kept.get("key", read), range(8)))
    assert (found, readings) == ([0] * 8, [0])


def test_each_key_has_its_own() -> None:
    kept: Shared[str] = Shared()
    assert [kept.get(key, lambda key=key: key) for key in "abab"] == [*"abab"]  # type: ignore[misc]


def test_its_age_counts_from_before_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("common.shared.time.monotonic", lambda: now[0])
    kept: Shared[float] = Shared()

    def slowly() -> float:
        now[0] += 0.8
        return now[0]

    assert kept.get("key", slowly) == 100.8
    now[0] = 101.0
    assert kept.get("key", slowly) == 100.8
    now[0] = 101.1
    assert kept.get("key", slowly) == pytest.approx(101.9)


def test_what_is_old_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("common.shared.time.monotonic", lambda: now[0])
    kept: Shared[int] = Shared()
    for number in range(50):
        now[0] += 0.5
        kept.get(number, lambda number=number: number)  # type: ignore[misc]
    assert len(kept._kept) == 3


def test_a_reader_that_hangs_keeps_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SECONDS", 0.1)
    kept: Shared[str] = Shared()
    begun, end = threading.Event(), threading.Event()

    def hang() -> str:
        begun.set()
        end.wait(30)
        return "late"

    thread = threading.Thread(target=kept.get, args=("key", hang))
    thread.start()
    begun.wait(30)
    started = time.monotonic()
    assert kept.get("key", lambda: "soon") == "soon"
    assert time.monotonic() - started < 5
    end.set()
    thread.join()


def test_a_reading_that_fails_is_not_kept() -> None:
    kept: Shared[int] = Shared()
    with pytest.raises(ZeroDivisionError):
        kept.get("key", lambda: 1 // 0)
    assert kept.get("key", lambda: 1) == 1


def test_all_can_be_forgotten() -> None:
    kept: Shared[int] = Shared()
    kept.get("key", lambda: 1)
    shared.forget_all()
    assert kept.get("key", lambda: 2) == 2
