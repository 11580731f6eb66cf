"""How much memory a sync takes when an instance tries to fill it: with a small limit."""

from __future__ import annotations

from bench.errors import BenchError
from bench.progress import note
from bench.report.results import Bar, Line, Part
from bench.testbed import hostile_peer
from bench.testbed.directory import Directory
from bench.testbed.instances import register
from bench.testbed.servers import Testbed
from localfleet.servers.server import HOST

LIMIT_KB = 256  # where 4,096 is the default
MOST, MOST_MORE = 256.0, 16.0  # MB that bars ask for
MB = 1024 * 1024


def measure(testbed: Testbed, directory: Directory) -> Part:
    """Sync the routes from an honest master, then from one that sends each kind of too much."""
    env = {"RAINBO_ANSWER_MAX_KB": str(LIMIT_KB), "RAINBO_CONNECT_TIMEOUT": "10"}
    register(testbed, [directory.place], master=1)
    honest = testbed.do("sync", {"sync": "user_routing"}, **env)
    if honest["state"] != "succeeded":
        raise BenchError(f"user_routing ended as {honest['state']}: {honest['errors']}")
    lines = [Line("honest", "nothing changed", memory=honest["peak_mb"])]
    for what, answer in hostile_peer.FILLING.items():
        lines.append(_attacked(testbed, directory, what, answer, env))
        note(f"{what}: {lines[-1].memory:.0f} MB")
    register(testbed, [directory.place], master=1)
    peak = max(line.memory or 0.0 for line in lines)
    bars = [
        Bar("peak of a sync, whatever its instance sends", MOST, peak, "MB"),
        Bar("more than of an honest instance", MOST_MORE, peak - honest["peak_mb"], "MB"),
    ]
    facts = {
        "limit": f"RAINBO_ANSWER_MAX_KB={LIMIT_KB}",
        "sent": f"up to {hostile_peer.AMOUNT // MB} MB in answer to one query",
    }
    return Part("hostile", "An instance that sends too much", lines, bars, facts)


def _attacked(
    testbed: Testbed,
    directory: Directory,
    what: str,
    answer: hostile_peer.Answer,
    env: dict[str, str],
) -> Line:
    there = (HOST, directory.place.port)
    with hostile_peer.hostile_peer(there, b"COPY (", answer) as (peer, port):
        register(testbed, [directory.place.through(port)], master=1)
        found = testbed.do("sync", {"sync": "user_routing"}, **env)
    said = " ".join(found["errors"])
    if found["state"] != "failed" or "RAINBO_ANSWER_MAX_KB" not in said or not peer.answered:
        raise BenchError(f"{what}: the sync ended as {found['state']}: {said}")
    return Line("hostile", what, memory=found["peak_mb"])
