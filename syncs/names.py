"""What people call the syncs: commands and the API know them by their names alone."""

from __future__ import annotations

_titles: dict[str, str] = {}


def remember(sync: str, title: str) -> None:
    _titles[sync] = title


def title_of(sync: str) -> str:
    """What a sync is called; of one that the code no longer has, its name."""
    return _titles.get(sync, sync)
