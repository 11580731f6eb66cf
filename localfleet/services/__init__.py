"""Servers that answer as third-party services do, with a state of their own."""
