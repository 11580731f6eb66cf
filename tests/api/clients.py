"""A test client that sends a token."""

from __future__ import annotations

from typing import Any

from django.test import Client

from api import tokens
from api.scopes import SCOPES


def token(*scopes: str, name: str = "test") -> str:
    """Make a token with these scopes, all when none is given; returns its secret."""
    return tokens.create(name, [*(scopes or SCOPES)], "ann").secret


def client(*scopes: str, secret: str = "", **headers: Any) -> Client:
    bearer = f"Bearer {secret or token(*scopes)}"
    return Client(headers={"authorization": bearer, **headers}, raise_request_exception=False)
