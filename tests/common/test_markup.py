from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db.models import TextChoices
from django.utils import timezone

from common import markup
from common.markup import Tone
from syncs.admin import badges
from syncs.models import RunState, TargetState

NOW = datetime(2026, 3, 1, 12, 0, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("states", "tones"),
    [(RunState, badges.RUN_TONES), (TargetState, badges.TARGET_TONES)],
)
def test_every_state_has_a_tone(states: type[TextChoices], tones: Mapping[str, Tone]) -> None:
    assert set(tones) == set(states.values)


def test_a_badge_says_its_state_in_a_word() -> None:
    shown = markup.badge("failed", Tone.BAD)
    assert shown == '<span class="badge badge-bad">failed</span>'


def test_text_of_others_is_escaped() -> None:
    assert "<b>" not in markup.badge("<b>", Tone.GOOD, why='"<b>') + markup.brief("<b>" * 99)


def test_an_age_keeps_the_exact_time_within_reach() -> None:
    assert markup.age(NOW - timedelta(minutes=5), NOW) == (
        '<time datetime="2026-03-01T11:55:03+00:00" title="2026-03-01 11:55:03 UTC">'
        "5 min ago</time>"
    )


def test_a_moment_to_come_is_said_so() -> None:
    assert "in 2 h" in markup.age(NOW + timedelta(hours=2), NOW)


def test_times_are_shown_in_the_viewers_zone() -> None:
    with timezone.override(ZoneInfo("Asia/Tokyo")):
        assert "2026-03-01 21:00:03 JST" in markup.moment(NOW, NOW)


def test_what_never_came_is_said_in_a_word() -> None:
    assert markup.age(None, NOW) == '<span class="quiet">never</span>'


def test_an_unknown_count_is_never_a_zero() -> None:
    assert "unknown" in markup.number(None)
    assert ">0<" in markup.number(0)
    assert "1,234,567" in markup.number(1234567)


def test_a_long_text_is_cut_and_kept_within_reach() -> None:
    text = "word " * 40
    shown = markup.brief(text, 20)
    assert f'title="{text}"' in shown
    assert ">word word word word…<" in shown
