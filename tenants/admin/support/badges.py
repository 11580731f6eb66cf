"""How pages show the state of support sessions."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.safestring import SafeString

from common import markup
from common.markup import Tone
from tenants.models import SupportSession
from tenants.models.support_session import SupportState

TONES: Mapping[SupportState, Tone] = {
    SupportState.ISSUED: Tone.BUSY,
    SupportState.OPEN: Tone.WARNING,
    SupportState.ENDED: Tone.QUIET,
    SupportState.UNUSED: Tone.QUIET,
}


def state_badge(row: SupportSession) -> SafeString:
    if row.closed_at is None and row.end_requested_at is not None:
        return markup.badge("ending", Tone.BUSY, row.error)
    return markup.badge(row.state.label.lower(), TONES[row.state])


def warning_badge(row: SupportSession) -> SafeString:
    """What is wrong with it; nothing if all is well."""
    if row.differs:
        return markup.badge("differs", Tone.BAD, row.differs)
    if row.refused and row.redeemed_at:
        return markup.badge("used again", Tone.BAD, f"refused {row.refused:,} times")
    return SafeString("")
