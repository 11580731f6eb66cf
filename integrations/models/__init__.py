from integrations.models.authorization_request import AuthorizationRequest
from integrations.models.connection import Connection
from integrations.models.record import ExternalRecord, RecordChange

__all__ = ["AuthorizationRequest", "Connection", "ExternalRecord", "RecordChange"]
