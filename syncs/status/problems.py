"""What is wrong, judged once: dashboard, commands, API and alerts show this one list.

Each app registers sources: what a source reads are its facts; what it makes of them is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from typing import Any, Generic, TypeVar, cast

from common import text
from common.joint_query import Answers, Questions, answer

F = TypeVar("F")


class Severity(IntEnum):
    """The order in which problems are named, the most severe first."""

    LEAVER_CAN_ENTER = 0
    SUPPORT_SESSION_REUSED = 1  # redeemed twice
    WORKERS_DEAD = 2
    INSTANCE_DOWN = 3  # or it refuses RAINBO's credentials
    HELD = 4
    STALE = 5
    FAILING = 6
    RECONNECT_NEEDED = 7
    CHANNEL_FAILING = 8
    LATE = 9
    DEGRADED = 10
    PAUSED = 11
    UNKNOWN = 12

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Link:
    """Where to look: a run, an instance, a sync's row, the fleet, the ghost users, the workers.

    A kind and a key: each reader of problems turns them into an address of its own.
    """

    kind: str
    key: str = ""


@dataclass(frozen=True)
class Problem:
    """key: the same as long as it is the same problem, whatever its text then says.

    cause: in a word or two. text: a sentence without capital and stop. affected: the keys of the
    targets (instances) that it is true of; none when it is about all. unequal: something is not as
    it should be although it was confirmed lately, so that nothing may be called on time. parts:
    the problems of single targets that this one sums up. brief: the text without people's names.
    measure: what the threshold of an alert's rule is compared with, in the rule's unit; None if it
    is not known or there is nothing to measure. source: the name of the one that found it.
    about_all: what a target is called, of one that names none because it is about all of them.
    tenants: how many it is about, if not those of its targets. people: how many it is about; None:
    it is not known.
    """

    key: str
    severity: Severity
    cause: str
    text: str
    link: Link
    affected: tuple[str, ...] = ()
    unequal: bool = False
    parts: tuple[Problem, ...] = ()
    brief: str = ""
    measure: float | None = None
    source: str = ""
    about_all: str = ""
    tenants: int | None = None
    people: int | None = 0

    @property
    def sentence(self) -> str:
        return text.sentence(self.text)

    @property
    def word(self) -> str:
        """Its severity; of what is as severe as an instance that is down and is none, its cause."""
        is_other = self.severity is Severity.INSTANCE_DOWN
        return self.cause if is_other else self.severity.label

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "key": self.key,
            "severity": self.severity.label,
            "cause": self.cause,
            "text": self.text,
            "link": {"kind": self.link.kind, "key": self.link.key},
            "affected": [*self.affected],
        }


@dataclass(frozen=True)
class Sight:
    """What was seen of the problem with this key at a time. problem: None if there was none."""

    at: datetime
    key: str
    problem: Problem | None


@dataclass(frozen=True)
class Past:
    """What is kept of problems of one cause.

    sights: by their time. since: from when on they are complete. remark: what they leave out, a
    sentence without capital and stop; empty if nothing.
    """

    sights: Sequence[Sight]
    since: datetime
    remark: str = ""


@dataclass(frozen=True)
class Source(Generic[F]):
    """Where problems come from.

    ask: the questions that all sources are asked in one statement. read: makes facts of the
    answers; what follows from these it asks itself. judge: pure; is handed the facts and what was
    found before, and names the more important of equally severe problems first. permissions: any
    of them lets a person see it. explained: others may name the cause of what it sees, so it is
    judged after them. watch: pure; what becomes a problem only at the threshold of an alert's rule,
    with its measure. past: for each cause of which a history is kept, reads what was seen after one
    time up to another. tenants: how many each active instance has, by the instances' keys; None of
    one whose number is not known.
    """

    name: str
    ask: Callable[[datetime], Questions]
    read: Callable[[Answers, datetime], F]
    judge: Callable[[F, Sequence[Problem]], Iterable[Problem]]
    permissions: tuple[str, ...]
    explained: bool = False
    watch: Callable[[F], Iterable[Problem]] | None = None
    past: Mapping[str, Callable[[datetime, datetime], Past]] = field(default_factory=dict)
    tenants: Callable[[F], Mapping[str, int | None]] | None = None

    def read_alone(self, now: datetime) -> F:
        return self.read(answer(self.ask(now)), now)


@dataclass(frozen=True)
class Facts:
    """What all sources read, by their names; those that a person may not see are missing."""

    known: Mapping[str, object] = field(default_factory=dict)

    def of(self, source: Source[F]) -> F | None:
        """None of a source that the person may not see."""
        return cast("F | None", self.known.get(source.name))

    def get(self, source: Source[F]) -> F:
        """Of a source that was read for sure, since nobody's permissions were asked."""
        return cast("F", self.known[source.name])


_sources: dict[str, Source[Any]] = {}


def register(source: Source[Any]) -> None:
    _sources[source.name] = source


def read(
    now: datetime,
    may: Callable[[str], bool] = lambda _: True,
    also: Iterable[Source[Any]] = (),
) -> Facts:
    """The facts of all sources that a person with these permissions may see.

    also: sources of which only the facts are wanted, not what is wrong by them.
    """
    asked = [*(source for source in _in_order() if any(map(may, source.permissions))), *also]
    questions = {source.name: source.ask(now) for source in asked}
    answers = answer(
        {(name, key): one for name, of_one in questions.items() for key, one in of_one.items()}
    )
    return Facts(
        {
            source.name: source.read(
                {key: answers[source.name, key] for key in questions[source.name]}, now
            )
            for source in asked
        }
    )


def judge(facts: Facts) -> tuple[Problem, ...]:
    """Everything that is wrong, the most severe first; a cause instead of its symptoms."""
    found: list[Problem] = []
    for source in _in_order():
        if (known := facts.of(source)) is not None:
            judged = source.judge(known, tuple(found))
            found += [_from(source, problem) for problem in judged]
    return tuple(sorted(found, key=lambda problem: problem.severity))


def watch(facts: Facts) -> Iterator[Problem]:
    """What becomes a problem only at the threshold of an alert's rule."""
    for source in _in_order():
        if source.watch is not None and (known := facts.of(source)) is not None:
            yield from (_from(source, problem) for problem in source.watch(known))


def tenants(facts: Facts) -> dict[str, int | None]:
    """How many tenants each active instance has, by its key; None: it is not known."""
    found: dict[str, int | None] = {}
    for source in _in_order():
        if source.tenants is not None and (known := facts.of(source)) is not None:
            found.update(source.tenants(known))
    return found


def visible_sources(may: Callable[[str], bool]) -> frozenset[str]:
    """The names of the sources that a person with these permissions may see."""
    return frozenset(s.name for s in _sources.values() if any(map(may, s.permissions)))


def source_of_past(cause: str) -> Source[Any] | None:
    """The source that keeps what was seen of problems of this cause; None if none does."""
    return next((source for source in _in_order() if cause in source.past), None)


def _from(source: Source[Any], problem: Problem) -> Problem:
    parts = tuple(replace(part, source=source.name) for part in problem.parts)
    return replace(problem, source=source.name, parts=parts)


def _in_order() -> list[Source[Any]]:
    return sorted(_sources.values(), key=lambda source: (source.explained, source.name))
