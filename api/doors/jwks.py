"""The public keys that applications verify support access with. Anyone may read them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse

from api.problems import Problem
from common.clock import database_now
from tenants.support_access import keys

MAX_AGE = 300  # seconds that applications may keep them; the next key is published before it signs


def show_keys(request: HttpRequest) -> HttpResponse:
    """Answer GET and HEAD with a JWK set (RFC 7517)."""
    if request.method != "GET":  # api.middleware answers HEAD as GET
        raise Problem(405, "This address takes GET alone.", headers={"Allow": "GET"})
    headers = {"Cache-Control": f"public, max-age={MAX_AGE}"}
    return JsonResponse(keys.document(database_now()), headers=headers)
