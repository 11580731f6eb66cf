"""What a person may not do is refused, and that they tried is recorded."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.defaults import permission_denied

from activity.log import record


def refuse(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler of status 403. Looking at a page is no action."""
    user = getattr(request, "user", None)
    if request.method == "POST" and user is not None and user.is_authenticated:
        record(request, "action.refused", request.path)
    return permission_denied(request, exception)
