from tenants.models.application_event import ApplicationEvent, ApplicationSecret
from tenants.models.ghost import GhostUser
from tenants.models.installation import Installation
from tenants.models.instance import InstanceCheck, InstanceExamination, RdsInstance
from tenants.models.route import RouteRemoval, UserRoute
from tenants.models.scram_keys import ScramKeys
from tenants.models.search_keys import SearchKeys
from tenants.models.support_session import SupportKey, SupportOptOut, SupportSession
from tenants.models.tenant import Tenant, TenantChange, TenantDailyCount

__all__ = [
    "ApplicationEvent",
    "ApplicationSecret",
    "GhostUser",
    "Installation",
    "InstanceCheck",
    "InstanceExamination",
    "RdsInstance",
    "RouteRemoval",
    "ScramKeys",
    "SearchKeys",
    "SupportKey",
    "SupportOptOut",
    "SupportSession",
    "Tenant",
    "TenantChange",
    "TenantDailyCount",
    "UserRoute",
]
