"""The text of the mail to a tenant's contact, with what it names in braces."""

from __future__ import annotations

import re
from collections.abc import Mapping

from common.text import truncate

SUBJECT = "Support entered {tenant}"
TEXT = """\
Hello,

a member of our support team has entered your account, {tenant}.

Who: {person}
Reason: {reason}
Ticket: {ticket}
From: {from}
Until, at the latest: {until}
Access: {access}

If you did not expect this, please contact us.
"""
LONGEST = 4_000  # characters
NAMES = frozenset({"tenant", "person", "reason", "ticket", "from", "until", "access"})
_NAME = re.compile(r"\{([^{}]*)\}")


def problem_of(text: str) -> str:
    """Why a text of the mail is none; empty if it is one, or if it is empty."""
    named = set(_NAME.findall(text))
    if unknown := sorted(named - NAMES):
        known = ", ".join(f"{{{name}}}" for name in sorted(NAMES))
        return f"the text has {{{truncate(unknown[0])}}}, and there are {known}"
    if len(text) > LONGEST:
        return f"the text has {len(text):,} characters, and may have {LONGEST:,}"
    if text.strip() and "reason" not in named:
        return "the text has no {reason}: the contact is to know why"
    return ""


def filled(text: str, values: Mapping[str, str]) -> str:
    """In one pass: what is put in is not looked at again, whatever a person wrote."""
    return _NAME.sub(lambda found: values.get(found[1], found[0]), text)
