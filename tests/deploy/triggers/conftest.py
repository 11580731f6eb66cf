from tests.door_fixtures import doors, operator, serve, worker

__all__ = ["doors", "operator", "serve", "worker"]
