from integrations.admin import connections, records

__all__ = ["connections", "records"]
