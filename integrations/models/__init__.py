from integrations.models.connection import Connection
from integrations.models.record import ExternalRecord, RecordChange

__all__ = ["Connection", "ExternalRecord", "RecordChange"]
