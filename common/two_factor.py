"""When the person of a session last proved two-factor authentication."""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpRequest

_AT = "two_factor_at"  # in the session: seconds by this server's clock
RECENT = 10 * 60  # seconds for which a proof stands for what needs a recent one


def note(request: HttpRequest) -> None:
    """Remember that the person proved it now."""
    request.session[_AT] = int(time.time())


def is_recent(request: HttpRequest) -> bool:
    """Whether it was proved in this session, in the last ten minutes."""
    user: Any = request.user
    at = request.session.get(_AT)
    return user.is_verified() and isinstance(at, int) and 0 <= time.time() - at <= RECENT
