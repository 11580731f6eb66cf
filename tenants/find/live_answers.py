"""What the master and the instances answer when they are asked for an e-mail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

LIMIT = 10.0  # seconds for all servers together, including those that hang

T = TypeVar("T")


@dataclass(frozen=True)
class LiveRoute:
    """An account as the master has it now."""

    source_id: str
    email: str | None
    tenant_id: str | None
    instance_id: str
    user_id: str | None
    user_name: str | None
    status: str | None
    source_updated_at: datetime | None


@dataclass(frozen=True)
class LiveUser:
    """An account as its instance has it now."""

    user_id: str
    email: str | None
    tenant_id: str | None
    user_name: str | None
    status: str | None
    last_login_at: datetime | None


@dataclass(frozen=True)
class ServerAnswer(Generic[T]):
    """The result of one server. problem: why it did not answer; empty when it did."""

    label: str
    rows: tuple[T, ...] = ()
    problem: str = ""

    @property
    def own_problem(self) -> str:
        """The problem after the name of the server: `it refused the connection`."""
        named = self.problem.startswith(f"{self.label} ")
        return f"it{self.problem.removeprefix(self.label)}" if named else self.problem


@dataclass(frozen=True)
class LiveLookup:
    """instances: by their ids as the directory names them."""

    at: datetime
    master: ServerAnswer[LiveRoute]
    instances: Mapping[str, ServerAnswer[LiveUser]]

    @property
    def is_found(self) -> bool:
        return bool(self.master.rows or any(there.rows for there in self.instances.values()))

    @property
    def problems(self) -> list[str]:
        """A sentence for each that did not answer."""
        unanswered = [one for one in self.instances.values() if one.problem]
        named = [(one.label[:1].upper() + one.label[1:], one.own_problem) for one in unanswered]
        if self.master.problem:
            named.insert(0, ("The master", self.master.problem))
        return [f"{label} can't be queried: {problem}" for label, problem in named]
