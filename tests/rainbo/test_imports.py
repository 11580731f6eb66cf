"""Imports run one way: rainbo → tenants → syncs → activity → common; localfleet is apart.

Nobody imports the benchmarks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("rainbo", "tenants", "syncs", "activity", "common", "localfleet", "bench")
ALLOWED = {
    "rainbo": {"rainbo", "tenants", "syncs", "activity", "common"},
    "tenants": {"tenants", "syncs", "activity", "common"},
    "syncs": {"syncs", "activity", "common"},
    "activity": {"activity", "common"},
    "common": {"common"},
    "localfleet": {"localfleet"},
    "bench": {"bench", "tenants", "syncs", "common", "localfleet"},
}


def imported(source: str) -> Iterator[str]:
    """The rooms that the source imports, anywhere in it; relative imports stay in their room."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / room).rglob("*.py")
        for name in imported(path.read_text(encoding="utf-8"))
        if name in ROOMS and name not in ALLOWED[room]
    }
    assert not wrong


def test_hidden_imports_are_found() -> None:
    source = "def f():\n    from tenants.models import Tenant\n    import rainbo.urls as urls\n"
    assert list(imported(source)) == ["tenants", "rainbo"]
