"""Pages of the demo's SaaS: a tenant with its users and locations, and a form that writes."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from localfleet.application.settings import alias_of, instance_of

SHOWN = 50  # users and locations of a page
# A ghost user comes in by support access alone.
SIGN_IN = """
    SELECT id::text, password FROM users
     WHERE email = %s AND status = 'Active' AND NOT is_ghost_admin"""
TENANT_OF = """
    SELECT tenant_id::text FROM users
     WHERE id = %s AND status = 'Active' AND NOT is_ghost_admin"""
TENANT = "SELECT id::text, name, status FROM tenants WHERE id = %s"
USERS = """
    SELECT coalesce(name, ''), email, status FROM users
     WHERE tenant_id = %s AND NOT is_ghost_admin ORDER BY id LIMIT %s"""
LOCATIONS = "SELECT name FROM locations WHERE tenant_id = %s ORDER BY id DESC LIMIT %s"
ADD_LOCATION = "INSERT INTO locations (tenant_id, name) VALUES (%s, %s)"
SET_PASSWORD = "UPDATE users SET password = %s, updated_at = now() WHERE id = %s"  # noqa: S105


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    tenant = _tenant_of(request)
    return redirect("sign_in") if tenant is None else redirect("tenant", tenant)


def sign_in(request: HttpRequest) -> HttpResponse:
    wrong = False
    if request.method == "POST":
        found = _rows(request, SIGN_IN, request.POST.get("email", ""))
        key, kept = found[0] if found else ("", "!")
        if check_password(request.POST.get("password", ""), kept):
            request.session.cycle_key()
            request.session["user"] = [instance_of(request), key]
            return redirect("home")
        wrong = True
    return render(request, "application/sign_in.html", {"wrong": wrong}, status=403 * wrong or 200)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return redirect("sign_in")


@require_GET
def tenant_page(request: HttpRequest, tenant: str) -> HttpResponse:
    _check_own(request, tenant)
    ((key, name, status),) = _rows(request, TENANT, tenant)
    context = {
        "tenant": {"key": key, "name": name, "status": status},
        "users": _rows(request, USERS, tenant, SHOWN),
        "locations": [row[0] for row in _rows(request, LOCATIONS, tenant, SHOWN)],
    }
    return render(request, "application/tenant.html", context)


@require_POST
def add_location(request: HttpRequest, tenant: str) -> HttpResponse:
    _check_own(request, tenant)
    name = " ".join(request.POST.get("name", "").split())
    if 0 < len(name) <= 100:
        _rows(request, ADD_LOCATION, tenant, name)
        if support := request.support:  # type: ignore[attr-defined]
            support.report("location.added", name)
    return redirect("tenant", tenant)


def password(request: HttpRequest) -> HttpResponse:
    """Change one's own password. Support access never leads here."""
    user = _user(request)
    if user is None:
        return redirect("sign_in")
    chosen = request.POST.get("password", "")
    is_done = request.method == "POST" and len(chosen) >= 12
    if is_done:
        _rows(request, SET_PASSWORD, make_password(chosen), user)
    return render(request, "application/password.html", {"is_done": is_done})


def _check_own(request: HttpRequest, tenant: str) -> None:
    if _tenant_of(request) != tenant:
        raise Http404


def _tenant_of(request: Any) -> str | None:
    """The tenant of whoever is signed in: of the support session, or of the user."""
    if request.support:
        return str(request.support.tenant_id)
    user = _user(request)
    found = [] if user is None else _rows(request, TENANT_OF, user)
    return found[0][0] if found else None


def _user(request: Any) -> str | None:
    """The id of the user that is signed in on this instance, as text."""
    instance, key = request.session.get("user", (None, None))
    return key if instance == instance_of(request) and not request.support else None


def _rows(request: HttpRequest, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
    with connections[alias_of(request)].cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []
