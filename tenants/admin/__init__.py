"""The console's pages of the fleet."""

from tenants.admin import ghosts, instances, routes, tenants

__all__ = ["ghosts", "instances", "routes", "tenants"]
