"""The version of RAINBO, which pyproject.toml alone states."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@cache
def version() -> str:
    """Return it, such as 1.2.3."""
    return str(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"])
