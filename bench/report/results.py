"""What a benchmark found, as it is kept: lines of figures and bars, by part, in one JSON file."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.report.figures import Spread, within
from localfleet.folders import CHECKOUT

KEPT = CHECKOUT / "docs" / "benchmarks.json"


@dataclass(frozen=True)
class Line:
    """One row of the table; what was not measured is None.

    ratio: to the baseline of its part. wire: bytes from the source. wal: bytes that the
    destination's server logged. memory: peak of the process in MB. written: rows of the table.
    """

    who: str
    what: str
    seconds: Spread | None = None
    ratio: Spread | None = None
    wire: int | None = None
    wal: float | None = None
    memory: float | None = None
    written: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """What was asked for, and what was found."""

    what: str
    asked: float
    found: float
    unit: str = "×"
    at_least: bool = False
    note: str = ""

    @property
    def held(self) -> bool:
        return within(self.found, self.asked, at_least=self.at_least)


@dataclass(frozen=True)
class Part:
    """A set of measurements taken in one go on one machine."""

    name: str
    title: str
    lines: Sequence[Line]
    bars: Sequence[Bar]
    facts: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        kept = asdict(self)
        for bar, found in zip(kept["bars"], self.bars, strict=True):
            bar["held"] = found.held
        return kept

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> Part:
        lines = [Line(**line | _spreads(line)) for line in kept["lines"]]
        bars = [Bar(**{k: v for k, v in bar.items() if k != "held"}) for bar in kept["bars"]]
        return cls(kept["name"], kept["title"], lines, bars, kept["facts"])


def _spreads(line: dict[str, Any]) -> dict[str, Spread | None]:
    return {name: Spread(**line[name]) if line[name] else None for name in ("seconds", "ratio")}


def machine(postgresql: str) -> dict[str, str]:
    """What the figures depend on."""
    return {
        "taken": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "postgresql": postgresql,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "processor": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
    }


def _processor() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return found.group(1).strip() if found else platform.processor() or "unknown"


def load(path: Path = KEPT) -> list[Part]:
    if not path.exists():
        return []
    return [Part.of_json(part) for part in json.loads(path.read_text(encoding="utf-8"))["parts"]]


def keep(parts: Sequence[Part], path: Path = KEPT) -> list[Part]:
    """Put the parts in the place of those of the same names; all that is kept then."""
    named = {part.name: part for part in [*load(path), *parts]}
    everything = [named[name] for name in sorted(named)]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"parts": [part.as_json() for part in everything]}, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")
    return everything
