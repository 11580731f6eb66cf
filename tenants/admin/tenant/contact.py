"""The contact of a tenant, and the account of that e-mail: the caches know no roles of users."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from tenants.models import Tenant
from tenants.routes import of_tenant, queries


def part(request: HttpRequest, tenant: Tenant) -> dict[str, Any]:
    """account: of the contact's e-mail, for users with the permission to view routes."""
    mail = tenant.contact_email
    if not (mail or tenant.contact_name):
        return {}
    contact: dict[str, Any] = {"name": tenant.contact_name, "mail": mail}
    if mail and request.user.has_perm("tenants.view_userroute"):
        (key,) = queries.email_keys([mail])
        contact["account"] = of_tenant.of_tenant(tenant).filter(email_key=key).first()
        contact["find_url"] = reverse("find", query={"q": mail})
    return {"contact": contact}
