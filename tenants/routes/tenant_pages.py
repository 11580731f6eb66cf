"""The tenants that ids name, an instance's and a tenant's there, and their pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.urls import reverse

from syncs.engine.targets import TenantKey, TenantPages
from tenants.models import RdsInstance, Tenant
from tenants.models.instance import parse_id

# By pairs: both halves on their own would find every tenant of any instance with one of the ids.
_NAMED = """
    SELECT tenant.*
      FROM unnest(%s::bigint[], %s::text[]) AS named (instance, tenant)
      JOIN tenant_master AS tenant
        ON tenant.instance_id = named.instance AND tenant.remote_id = named.tenant"""
# One look-up per id, since a plan that joins them would read all instances.
_INSTANCES = """
    SELECT instance.* FROM unnest(%s::integer[]) AS named (id)
     CROSS JOIN LATERAL (SELECT id, name FROM rds_instances AS known
                          WHERE known.id = named.id OFFSET 0) AS instance"""


def tenants_of(keys: Iterable[TenantKey]) -> dict[TenantKey, Tenant]:
    """Return the tenants that the keys name, as far as they have been read."""
    known = [(number, tenant) for key, tenant in keys if (number := parse_id(key)) is not None]
    instances, tenants = zip(*known, strict=True) if known else ((), ())
    found = Tenant.objects.raw(_NAMED, [[*instances], [*tenants]])
    return {(str(tenant.instance_id), tenant.remote_id): tenant for tenant in found}


def _pages(keys: Collection[TenantKey]) -> dict[TenantKey, tuple[str, str]]:
    return {
        key: (tenant.name, reverse("admin:tenants_tenant_change", args=[tenant.pk]))
        for key, tenant in tenants_of(keys).items()
    }


def _instances(ids: Collection[str]) -> dict[str, tuple[str, str]]:
    numbers = [number for one in ids if (number := parse_id(one)) is not None]
    return {
        str(instance.pk): (
            str(instance),
            reverse("admin:tenants_rdsinstance_change", args=[instance.pk]),
        )
        for instance in RdsInstance.objects.raw(_INSTANCES, [numbers])
    }


TENANTS = TenantPages(_pages, "tenants.view_tenant", _instances, "tenants.view_rdsinstance")
