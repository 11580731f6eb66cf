from integrations.models.connection import Connection
from integrations.models.price import CatalogueModel, PriceChange
from integrations.models.record import ExternalRecord, RecordChange

__all__ = ["CatalogueModel", "Connection", "ExternalRecord", "PriceChange", "RecordChange"]
