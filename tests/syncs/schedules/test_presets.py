from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncs.schedules import crontab
from syncs.schedules.presets import HOURS, LAST_DAY, Choice, PresetKind, from_cron

CHOICES = st.builds(
    Choice,
    kind=st.sampled_from([kind for kind in PresetKind if kind is not PresetKind.CRON]),
    minute=st.integers(0, 59),
    hours=st.sampled_from(HOURS),
    at=st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    weekday=st.integers(0, 6),
    day=st.integers(1, LAST_DAY),
)


@given(CHOICES)
def test_every_choice_has_planned_times_and_is_known_again(choice: Choice) -> None:
    cron = choice.as_cron()
    assert crontab.is_valid(cron)
    assert crontab.normalize(cron) == cron
    found = from_cron(cron)
    assert found.kind is choice.kind
    assert found.as_cron() == cron


@pytest.mark.parametrize("kind", list(PresetKind))
def test_every_kind_has_a_name(kind: PresetKind) -> None:
    assert kind.label


@pytest.mark.parametrize("cron", ["*/20 * * * *", "0 */5 * * *", "0 2 31 * *", "0 2 1 1 *", "x"])
def test_what_is_no_choice_stays_an_expression(cron: str) -> None:
    assert from_cron(cron) == Choice(PresetKind.CRON, cron=cron)


def test_a_choice_keeps_its_details() -> None:
    assert from_cron("30 3 * * 0") == Choice(PresetKind.WEEKLY, at=time(3, 30), weekday=0)
