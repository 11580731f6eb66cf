"""The console's pages of the fleet."""

from tenants.admin import ghosts, instances, routes, support_sessions, tenants

__all__ = ["ghosts", "instances", "routes", "support_sessions", "tenants"]
