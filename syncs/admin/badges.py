"""How pages show the states of runs, targets and freshness: one way for all of them."""

from __future__ import annotations

from collections.abc import Mapping

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.markup import Tone, badge
from common.text import in_viewer_zone
from syncs.models import RunState, TargetState
from syncs.status.freshness import State
from syncs.status.queries import TargetStatus

RUN_TONES: Mapping[str, Tone] = {
    RunState.QUEUED: Tone.BUSY,
    RunState.RUNNING: Tone.BUSY,
    RunState.SUCCEEDED: Tone.GOOD,
    RunState.PARTIAL: Tone.WARNING,
    RunState.HELD: Tone.WARNING,
    RunState.FAILED: Tone.BAD,
    RunState.LOST: Tone.BAD,
    RunState.CANCELLED: Tone.QUIET,
    RunState.SKIPPED: Tone.QUIET,
}
TARGET_TONES: Mapping[str, Tone] = {
    TargetState.WAITING: Tone.BUSY,
    TargetState.SUCCEEDED: Tone.GOOD,
    TargetState.HELD: Tone.WARNING,
    TargetState.FAILED: Tone.BAD,
    TargetState.SKIPPED: Tone.QUIET,
}
FRESHNESS_TONES: Mapping[State, Tone] = {
    State.ON_TIME: Tone.GOOD,
    State.LATE: Tone.WARNING,
    State.STALE: Tone.BAD,
    State.UNKNOWN: Tone.QUIET,
}


def run_badge(state: str, *, discarded: bool) -> SafeString:
    """A run's state; of a held one, whether a person has decided against it."""
    shown = badge(state, RUN_TONES[state])
    return format_html("{} {}", shown, badge("discarded", Tone.QUIET)) if discarded else shown


def run_link(pk: int, label: str = "") -> SafeString:
    return format_html('<a class="link" href="{}">{}</a>', run_url(pk), label or f"run {pk}")


def run_url(pk: int) -> str:
    return reverse("admin:syncs_syncrun_change", args=[pk])


def freshness_badge(target: TargetStatus) -> SafeString:
    state = target.freshness.state
    return badge(state.label, FRESHNESS_TONES[state], reason(target))


def reason(target: TargetStatus) -> str:
    """Why it is not on time, with times in the viewer's zone; empty if it is."""
    return in_viewer_zone(target.reason.words, timezone.now()) if target.reason else ""
