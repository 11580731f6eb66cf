from tests.tenants.conftest import registered

__all__ = ["registered"]
