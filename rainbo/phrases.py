"""How sentences about the fleet are put together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """What a sentence is about: a sync's title, and the instances that it is true of."""

    title: str
    where: str = ""

    @property
    def lower(self) -> str:
        name = self.title[:1].lower() + self.title[1:]
        return f"{name} of {self.where}" if self.where else name

    @property
    def be(self) -> str:
        return "are" if self._is_many else "is"

    @property
    def have(self) -> str:
        return "have" if self._is_many else "has"

    @property
    def _is_many(self) -> bool:
        return self.title.endswith("s")
