"""What the first page begins with: the most severe problem in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from common import text
from common.markup import Tone
from common.text import counted, format_duration
from syncs.status import problems, sync_problems
from syncs.status.problems import Facts, Link, Problem, Severity
from syncs.status.queries import SyncStatus
from syncs.status.sync_problems import NOTHING_TO_READ, SYNCS, Subject
from tenants.health.problems import INSTANCES


@dataclass(frozen=True)
class Verdict:
    """found: all problems, the most severe first: the sentence is about that one."""

    tone: Tone
    word: str
    sentence: str
    link: Link | None = None
    found: tuple[Problem, ...] = ()

    @property
    def others(self) -> tuple[Problem, ...]:
        return self.found[1:]


def render(facts: Facts) -> Verdict:
    """The most severe problem of these facts, and the others after it."""
    found = problems.judge(facts)
    if not found:
        return Verdict(Tone.GOOD, "healthy", text.sentence(_all_well(facts)))
    worst = found[0]
    if worst.cause == NOTHING_TO_READ:
        return Verdict(Tone.QUIET, "not set up", worst.sentence, found=tuple(found))
    tone = Tone.BAD if worst.severity <= Severity.STALE else Tone.WARNING
    syncs = facts.of(SYNCS)
    calm = sync_problems.is_calm(syncs.status if syncs else None, found)
    words = f"{_calm(facts)}, but {worst.text}" if calm else worst.text
    word = "problem" if tone is Tone.BAD else "warning"
    return Verdict(tone, word, text.sentence(words), worst.link, tuple(found))


def _calm(facts: Facts) -> str:
    return "all is on time" if facts.of(SYNCS) else "all instances answer"


def _all_well(facts: Facts) -> str:
    if syncs := facts.of(SYNCS):
        return f"all is on time: {', '.join(_ages(syncs.status.syncs))} old"
    if instances := facts.of(INSTANCES):
        count = len(instances.fleet.active)
        return f"all {count:,} instances answer" if count > 1 else "the instance answers"
    return "no ghost user of a person who left can enter an instance"


def _ages(syncs: Iterable[SyncStatus]) -> Iterator[str]:
    """The age of each sync of the fleet, and one for all services."""
    services = []
    for sync in syncs:
        ages = [t.freshness.age for t in sync.targets if t.freshness.age is not None]
        if not ages:
            continue
        if sync.has_schedule:
            yield f"{Subject.of(sync).lower} {format_duration(max(ages))}"
        else:
            services.append(max(ages))
    if services:
        yield f"{counted(len(services), 'service')} {format_duration(max(services))}"
