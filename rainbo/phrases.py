"""How sentences about the fleet are put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from tenants.words import counted as counted

LONGEST = 200  # characters of an error inside a sentence


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


def sentence(words: str) -> str:
    """With a capital and a stop, unless it asks something."""
    stop = "" if words.endswith("?") else "."
    return f"{words[:1].upper()}{words[1:].removesuffix('.')}{stop}"


def cut(words: str, longest: int = LONGEST) -> str:
    words = " ".join(words.split())
    return words if len(words) <= longest else f"{words[: longest - 1].rstrip()}…"


def clock(at: datetime, now: datetime) -> str:
    """`13:05 UTC` in the viewer's zone, with the day unless it is today."""
    local, today = timezone.localtime(at), timezone.localtime(now).date()
    return f"{local:%H:%M %Z}" if local.date() == today else f"{local:%Y-%m-%d %H:%M %Z}"


def since(at: datetime | None, now: datetime) -> str:
    return f" since {clock(at, now)}" if at else ""
