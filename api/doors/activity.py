"""What applications report, signed with the secret of their instance: docs/support-access.md."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from activity.address import address_of
from api import refusals
from api.parsing import parse_object
from api.problems import Problem
from common.clock import database_now
from tenants.models.instance import parse_id
from tenants.support_access import events
from tenants.support_access.events import InvalidEvents


def receive(request: HttpRequest) -> HttpResponse:
    """Store the events of a signed request, each once."""
    if request.method != "POST":
        raise Problem(405, "This address takes POST alone.", headers={"Allow": "POST"})
    instance_id, now = _signer(request), database_now()
    if (wait := events.count_request(instance_id)) is not None:
        raise Problem(
            429,
            f"Instance {instance_id} sent more than {events.MOST_REQUESTS} requests in a minute: "
            f"wait {wait} seconds, and send several events in one.",
            headers={"Retry-After": str(wait)},
        )
    try:
        found = events.parse(parse_object(request.body), now)
    except InvalidEvents as error:
        raise Problem(422, "Nothing was stored: see errors.", errors=error.errors) from error
    with transaction.atomic():
        stored = events.store(instance_id, found)
    return JsonResponse({"stored": stored, "known": len(found) - stored})


def _signer(request: HttpRequest) -> int:
    """Return the instance whose application signed it. Raises Problem 401, or 429."""
    headers = request.headers
    instance_id = parse_id(headers.get("X-Rainbo-Instance", ""))
    at, signature = (headers.get(f"X-Rainbo-{name}", "") for name in ("Timestamp", "Signature"))
    is_short = len(at) <= 12 and len(signature) <= 100
    if instance_id is not None and is_short:
        is_right = events.is_signed(instance_id, at, signature, request.body, database_now())
        if is_right:
            return instance_id
    wait = refusals.count(address_of(request))
    if wait is not None:
        raise Problem(
            429,
            f"Too many requests with a wrong signature came from this address: wait {wait} s.",
            headers={"Retry-After": str(wait)},
        )
    raise Problem(
        401,
        "The signature does not fit: check the instance, its secret, the clock (at most five "
        "minutes off), and that the bytes of the body are signed as they are sent.",
        headers={"WWW-Authenticate": "X-Rainbo-Signature"},
    )
