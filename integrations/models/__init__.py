from integrations.models.authorization_request import AuthorizationRequest
from integrations.models.connection import Connection
from integrations.models.price import CatalogueModel, PriceChange
from integrations.models.record import ExternalRecord, RecordChange

__all__ = [
    "AuthorizationRequest",
    "CatalogueModel",
    "Connection",
    "ExternalRecord",
    "PriceChange",
    "RecordChange",
]
