"""A person changes their own password: Django's page, recorded."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.debug import sensitive_post_parameters

from activity.log import record


@sensitive_post_parameters()
def change_view(request: HttpRequest) -> HttpResponseBase:
    response = admin.site.password_change(request)
    if request.method == "POST" and response.status_code == 302:
        record(request, "user.password_changed", request.user)
    return response
