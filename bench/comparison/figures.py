"""Two sides' figures, line by line. Pure: what was read in, what compares to what out."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.report.figures import Spread

Key = tuple[str, str, str]  # part, who, what
Figures = dict[Key, "Figure"]


@dataclass(frozen=True)
class Figure:
    """One line of one run. unit: "× A" of a ratio to the line's baseline, else "s"."""

    value: Spread
    unit: str


@dataclass(frozen=True)
class Comparison:
    """One line of both sides over all turns; None where a side has no such line."""

    key: Key
    unit: str
    base: Spread | None
    ours: Spread | None

    @property
    def quotient(self) -> float | None:
        if self.base is None or self.ours is None or not self.base.median:
            return None
        return self.ours.median / self.base.median

    @property
    def verdict(self) -> str:
        """Where our median lies: within the lowest and highest single run of the base, or not."""
        if self.base is None or self.ours is None:
            return "only in ours" if self.base is None else "only in base"
        if self.ours.median < self.base.least:
            return "faster"
        return "slower" if self.ours.median > self.base.most else "within"


def read(text: str) -> Figures:
    """Read a benchmarks.json of any commit: fields that we don't know are left out."""
    try:
        parts = json.loads(text)["parts"]
        return {
            (part["name"], line["who"], line["what"]): figure
            for part in parts
            for line in part["lines"]
            if (figure := _figure(line)) is not None
        }
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"benchmarks.json can't be read: {error!r}") from None


def compare(base: Sequence[Figures], ours: Sequence[Figures]) -> list[Comparison]:
    """Compare turns of the base with turns of ours; lines in the order of ours, then the base's."""
    keys = dict.fromkeys(key for turn in (*ours, *base) for key in turn)
    found = []
    for key in keys:
        units = {turn[key].unit for turn in (*ours, *base) if key in turn}
        if len(units) == 1:  # a ratio and seconds of the same name say nothing together
            found.append(Comparison(key, units.pop(), _pooled(base, key), _pooled(ours, key)))
    return found


def _figure(line: dict[str, Any]) -> Figure | None:
    for name, unit in (("ratio", "× A"), ("seconds", "s")):
        if kept := line.get(name):
            return Figure(Spread(kept["median"], kept["least"], kept["most"], kept["runs"]), unit)
    return None


def _pooled(turns: Sequence[Figures], key: Key) -> Spread | None:
    """The median of the turns' medians, and the lowest and highest single run of all turns."""
    values = [turn[key].value for turn in turns if key in turn]
    if not values:
        return None
    return Spread(
        statistics.median(value.median for value in values),
        min(value.least for value in values),
        max(value.most for value in values),
        sum(value.runs for value in values),
    )
