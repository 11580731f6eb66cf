from integrations.admin import connections, models, records

__all__ = ["connections", "models", "records"]
