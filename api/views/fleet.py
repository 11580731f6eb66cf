"""Instances, tenants, and where an e-mail lives."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import Router
from ninja.params.functions import Query

from api import documents, paging
from api.auth import Scoped, caller_of
from common.clock import iso
from tenants.find import report, search
from tenants.models import RdsInstance, Tenant
from tenants.summaries.search import matching

router = Router(tags=["fleet"])
READ = Scoped("fleet:read")
InstanceId = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


@router.get(
    "/instances",
    auth=READ,
    response=documents.InstanceList,
    summary="List instances with their health and lag",
)
def list_instances(request: HttpRequest) -> HttpResponse:
    rows = RdsInstance.objects.defer("password", "ssl_ca", "notes").order_by("pk")
    return JsonResponse({"instances": [_instance(row) for row in rows]})


@router.get("/tenants", auth=READ, response=documents.TenantPage, summary="List tenants")
def list_tenants(
    request: HttpRequest,
    instance: InstanceId = None,
    status: Annotated[str | None, Query(max_length=64)] = None,
    vanished: bool | None = None,
    q: Annotated[
        str | None,
        Query(max_length=200, description="beginnings of words of name or contact, or the id"),
    ] = None,
    after: paging.Key = None,
    limit: paging.Limit = 50,
) -> HttpResponse:
    """Without `vanished`, those that their instance still has and those that it had.

    Contacts are there for a token with the scope `people:find`.
    """
    rows = Tenant.objects.filter(pk__gt=after or 0)
    if instance is not None:
        rows = rows.filter(instance=instance)
    if status is not None:
        rows = rows.filter(status=status)
    if vanished is not None:
        rows = rows.filter(vanished_at__isnull=not vanished)
    if q is not None and q.strip():
        rows = rows.filter(matching(q))
    found, following = paging.page(request, rows, limit)
    with_people = "people:find" in caller_of(request).scopes
    tenants = [_tenant(row) | (_contact(row) if with_people else {}) for row in found]
    return JsonResponse({"tenants": tenants, "next": following})


@router.get(
    "/find",
    auth=Scoped("people:find"),
    response=documents.FindDocument,
    summary="Find where an e-mail lives",
)
def find_email(
    request: HttpRequest, email: Annotated[str, Query(min_length=1, max_length=320)]
) -> HttpResponse:
    """The document of `find_user --json`, from the cache. `found` says whether there is one."""
    return JsonResponse(report.document(search.search(email), None))


def _instance(row: RdsInstance) -> dict[str, object]:
    names = ("id", "name", "is_active", "is_master", "health", "latency_ms", "last_error")
    more = ("server_version", "is_replica", "schema_group", "has_tenants", "has_ghosts")
    called = ("group", "labels")
    return {name: getattr(row, name) for name in (*names, *more, *called)} | {
        "last_check_at": iso(row.last_check_at),
        "replica_lag_seconds": row.replica_lag_s,
        "certificate_ends_at": iso(row.certificate_ends_at),
        "ca_ends_at": iso(row.ca_ends_at),
    }


def _contact(row: Tenant) -> dict[str, object]:
    return {"contact_name": row.contact_name, "contact_email": row.contact_email}


def _tenant(row: Tenant) -> dict[str, object]:
    plain = ("name", "status", "user_count", "location_count")
    times = ("trial_ends_at", "subscription_started_at", "last_activity_at", "vanished_at")
    return {
        "instance": row.instance_id,
        "tenant": row.remote_id,
        **{name: getattr(row, name) for name in plain},
        **{name: iso(getattr(row, name)) for name in times},
        "refreshed_at": iso(row.cache_refreshed_at),
    }
