"""What a rule would have found in the last days, before anybody saves it.

Nothing is judged here: what is kept of the past is handed to the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts import past_runs
from alerts.evaluation import FLAP
from alerts.models import Incident
from alerts.rules import BY_SEVERITY, OF_RUNS, Rule
from syncs.status import problems
from syncs.status.problems import Past, Problem, Sight

SPAN = timedelta(days=7)
SHOWN = 50


@dataclass(frozen=True)
class Episode:
    """What would have been one incident. end: None if it would be open now."""

    begin: datetime
    end: datetime | None
    problem: Problem
    came_back: int = 0


@dataclass(frozen=True)
class Preview:
    """episodes: the latest first, of `count` in all. since: from when on they are complete.

    remark: what is left out. is_kept: whether anything is kept that the rule could be tried on;
    otherwise, `fired` is how often it did fire, with the values in force then. is_allowed: the
    person may see what the rule is about.
    """

    since: datetime
    until: datetime
    episodes: tuple[Episode, ...] = ()
    count: int = 0
    remark: str = ""
    is_kept: bool = True
    is_allowed: bool = True
    fired: int = 0


def preview(rule: Rule, now: datetime, may: Callable[[str], bool] = lambda _: True) -> Preview:
    """Try a rule on the last 7 days, whether it is on or off. may: a person's permissions."""
    since = now - SPAN
    past: Past
    if rule.name in OF_RUNS:
        if not _may_see_runs(may):
            return Preview(since, now, is_allowed=False)
        past = past_runs.read(rule, since, now)
    else:
        what = rule.cause or _severity_of(rule)
        source = problems.source_of_past(what)
        if source is None:
            fired = Incident.objects.filter(rule=rule.name, opened_at__gt=since).count()
            return Preview(since, now, is_kept=False, fired=fired)
        if not any(map(may, source.permissions)):
            return Preview(since, now, is_allowed=False)
        past = source.past[what](since, now)
    found = episodes(rule, past.sights, past.since, now)
    return Preview(past.since, now, tuple(found[:SHOWN]), len(found), past.remark)


def episodes(
    rule: Rule, sights: Iterable[Sight], since: datetime, until: datetime
) -> list[Episode]:
    """What would have been open between two times, the latest first. Pure.

    sights: by their time.
    """
    by_key: dict[str, list[Sight]] = {}
    for sight in sights:
        by_key.setdefault(sight.key, []).append(sight)
    found = [
        episode
        for of_key in by_key.values()
        for episode in _folded(_lasting(rule, of_key, until))
        if episode.end is None or episode.end > since
    ]
    return sorted(found, key=lambda episode: episode.begin, reverse=True)


@dataclass
class _Stretch:
    begin: datetime
    end: datetime | None
    problem: Problem = field(repr=False)


def _lasting(rule: Rule, sights: Iterable[Sight], until: datetime) -> Iterator[_Stretch]:
    """The times in which the rule's threshold was met without a break, for long enough."""
    stretch: _Stretch | None = None
    for sight in sights:
        is_met = sight.problem is not None and rule.is_met_by(sight.problem.measure)
        if is_met and stretch is None and sight.problem is not None:
            stretch = _Stretch(sight.at, None, sight.problem)
        elif not is_met and stretch is not None:
            stretch.end = sight.at
            if sight.at - stretch.begin >= rule.hold:
                yield stretch
            stretch = None
    if stretch is not None and until - stretch.begin >= rule.hold:
        yield stretch


def _folded(stretches: Iterable[_Stretch]) -> Iterator[Episode]:
    """What comes back shortly after its end is the same incident."""
    last: Episode | None = None
    for one in stretches:
        if last and last.end and one.begin - last.end < FLAP:
            last = Episode(last.begin, one.end, last.problem, last.came_back + 1)
            continue
        if last:
            yield last
        last = Episode(one.begin, one.end, one.problem)
    if last:
        yield last


def _severity_of(rule: Rule) -> str:
    names = {name: severity.label for severity, name in BY_SEVERITY.items()}
    return names.get(rule.name, "")


def _may_see_runs(may: Callable[[str], bool]) -> bool:
    return any(map(may, ("syncs.view_syncrun", "syncs.change_syncrun")))
