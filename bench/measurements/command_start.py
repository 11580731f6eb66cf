"""How long management commands take until they have answered; another commit's in turns."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.comparison.checkout import Checkout, checked_out, resolve
from bench.progress import note
from bench.report.figures import Spread, ratio
from bench.report.results import Bar, Line, Part
from bench.testbed.console import Console
from bench.testbed.servers import Testbed
from localfleet.data.large_seed import Size
from localfleet.folders import CHECKOUT

CACHE = CHECKOUT / ".cache" / "bench-commands"
COMMANDS = (("rainbo_status",), ("find_user", "nobody@example.com"), ("schedule_list",))
SMALL = Size(instances=5, tenants=50, routes=500, runs=50, minutes=60, entries=10)
ASKED = 0.5  # of the other commit's time
Seconds = dict[str, list[float]]  # of each command


def measure(testbed: Testbed, base: str, turns: int) -> Part:
    """base: the commit to compare with. turns: of each command on either side."""
    commit = resolve(CHECKOUT, base)
    CACHE.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        other = stack.enter_context(checked_out(CHECKOUT, commit, CACHE))
        sides = {commit[:12]: other, "RAINBO": Checkout(CHECKOUT, Path())}
        consoles = {}
        for number, (who, side) in enumerate(sides.items()):
            consoles[who] = Console(testbed, side, f"commands_{number}")
            consoles[who].prepare(SMALL, 0, datetime.now(UTC))
        whole: dict[str, Seconds] = {who: {} for who in sides}
        processor: dict[str, Seconds] = {who: {} for who in sides}
        for turn in range(turns):
            for words in COMMANDS:
                for who in sorted(sides, reverse=bool(turn % 2)):
                    spent = consoles[who].command(words)
                    whole[who].setdefault(words[0], []).append(spent.seconds)
                    processor[who].setdefault(words[0], []).append(spent.processor)
            note(f"turn {turn + 1} of {turns}")
    lines, bars = [], []
    base_side, ours = ((whole[who], processor[who]) for who in sides)
    for who in sides:
        for name, seconds in whole[who].items():
            compared = ratio(seconds, base_side[0][name]) if who == "RAINBO" else None
            lines.append(Line(who, name, Spread.of(seconds), compared))
            used = processor[who][name]
            compared = ratio(used, base_side[1][name]) if who == "RAINBO" else None
            lines.append(Line(who, f"{name}, processor", Spread.of(used), compared))
    for name in ours[0]:
        found = ratio(ours[0][name], base_side[0][name]).median
        bars.append(Bar(f"{name}, to the other commit", ASKED, found))
    facts = {"measured": f"{turns} turns of both sides; no worker and no other command ran"}
    return Part("commands", "Management commands", lines, bars, facts)
