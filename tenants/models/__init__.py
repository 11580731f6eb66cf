from tenants.models.ghost import GhostUser
from tenants.models.installation import Installation
from tenants.models.instance import InstanceCheck, InstanceExamination, RdsInstance
from tenants.models.route import RouteRemoval, UserRoute
from tenants.models.search_keys import SearchKeys
from tenants.models.tenant import Tenant, TenantChange, TenantDailyCount

__all__ = [
    "GhostUser",
    "Installation",
    "InstanceCheck",
    "InstanceExamination",
    "RdsInstance",
    "RouteRemoval",
    "SearchKeys",
    "Tenant",
    "TenantChange",
    "TenantDailyCount",
    "UserRoute",
]
