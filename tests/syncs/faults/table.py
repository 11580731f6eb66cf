"""`python -m tests.syncs.faults.table`: the table of the random faults in .cache/faults.jsonl."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from tests.syncs.faults.stage import ROOT

KEPT = ROOT / ".cache" / "faults.jsonl"


@dataclass(frozen=True)
class Drawn:
    """A fault that was drawn. outcome: the last state of the slot that was due meanwhile."""

    number: int
    kind: str
    bitten: bool
    outcome: str
    seconds: float


def keep(one: Drawn) -> None:
    with KEPT.open("a") as file:
        file.write(json.dumps(asdict(one)) + "\n")


def markdown(drawn: Iterable[Drawn]) -> str:
    """One row for each kind, and one for all."""
    known = list(drawn)
    lines = [
        "| fault | drawn | bitten | drawn again | outcomes of the time that was due |",
        "|---|---|---|---|---|",
    ]
    kinds = sorted({one.kind for one in known})
    lines += [_row(kind, [one for one in known if one.kind == kind]) for kind in kinds]
    return "\n".join([*lines, _row("**all**", known)])


def _row(name: str, drawn: list[Drawn]) -> str:
    bitten = sum(one.bitten for one in drawn)
    outcomes = Counter(one.outcome for one in drawn if one.bitten)
    said = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    return f"| {name} | {len(drawn)} | {bitten} | {len(drawn) - bitten} | {said} |"


if __name__ == "__main__":
    print(markdown(Drawn(**json.loads(line)) for line in KEPT.read_text().splitlines()))
