"""Answer 403 to what a user has no permission for, and record the attempt."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.defaults import permission_denied

from activity.log import record


def reject(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler of status 403. Looking at a page is no action."""
    user = getattr(request, "user", None)
    if request.method == "POST" and user is not None and user.is_authenticated:
        record(request, "action.refused", request.path)
    return permission_denied(request, exception)
