"""How pages show who can enter which instance."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.markup import Tone
from tenants.ghosts.coverage import MEANINGS, Coverage, CoverageCounts
from tenants.models import RdsInstance

COVERAGE_TONES: dict[Coverage, Tone] = {
    Coverage.CONFIRMED: Tone.GOOD,
    Coverage.WANTED: Tone.BUSY,
    Coverage.MISSING: Tone.WARNING,
    Coverage.REFUSED: Tone.BAD,
    Coverage.UNKNOWN: Tone.WARNING,
    Coverage.ORPHAN: Tone.BAD,
    Coverage.GONE: Tone.QUIET,
    Coverage.UNUSED: Tone.QUIET,
}


@dataclass(frozen=True)
class Counted:
    badge: SafeString
    count: SafeString
    meaning: str


def coverage_badge(coverage: Coverage) -> SafeString:
    return markup.badge(coverage, COVERAGE_TONES[coverage])


def down_badge(instance: RdsInstance) -> SafeString | str:
    """The mark of an instance of which only the past is known; empty if it is up."""
    why = "what is shown of it is from before"
    return markup.badge(instance.health, Tone.BAD, why) if instance.is_down else ""


def coverage_counts(tally: CoverageCounts) -> list[Counted]:
    """The states that occur, in their order, each with its count."""
    return [
        Counted(coverage_badge(state), markup.number(tally.counts[state]), MEANINGS[state])
        for state in Coverage
        if tally.counts[state]
    ]


def counts_in_line(tally: CoverageCounts) -> SafeString:
    """The same in one line."""
    parts = coverage_counts(tally)
    if not parts:
        return markup.quiet("none")
    items = "".join(format_html("<li>{} {}</li>", part.badge, part.count) for part in parts)
    return format_html('<ul class="counts">{}</ul>', SafeString(items))
