"""The options of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from common.errors import UsageError


@dataclass(frozen=True)
class Options:
    """Choices of one run, stored with it as JSON.

    targets: instances to sync, all when empty. only: keys inside a target (admins of a ghost
    sync). force: don't skip what is fresh. accept_held: the held run whose changes are accepted.
    reason: why they are accepted. failed_from: sync only what failed in that run.
    """

    targets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    force: bool = False
    dry_run: bool = False
    accept_held: int | None = None
    reason: str = ""
    failed_from: int | None = None

    def as_json(self) -> dict[str, Any]:
        defaults = {field.name: field.default for field in fields(self)}
        return {k: v for k, v in asdict(self).items() if v != defaults[k]}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Options:
        unknown = set(stored) - {field.name for field in fields(cls)}
        if unknown:
            raise UsageError(f"unknown options: {', '.join(sorted(unknown))}")
        lists: dict[str, Any] = {
            name: tuple(stored[name]) for name in ("targets", "only") if name in stored
        }
        return cls(**stored | lists)
