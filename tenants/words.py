"""How many of what, in words."""

from __future__ import annotations


def counted(count: int | None, unit: str, *, more: bool = False) -> str:
    """`14 tenants`; what nobody knows is said to be unknown."""
    if count is None:
        return f"an unknown number of {unit}s"
    words = f"{count:,} {unit}" if count == 1 and not more else f"{count:,} {unit}s"
    return f"more than {words}" if more else words
