"""The rules: which problems become incidents, how loud they are, and how long they must last.

Pure. Most rules take what `syncs.status.problems` judges, so that an alert never disagrees with
the console; four judge the history of runs by thresholds of their own. A rule of another app needs
its row in RULES alone, with the cause that the app's source gives its problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from alerts.models import Level
from alerts.models import Rule as StoredRule
from common.text import counted, format_duration
from syncs.status.problems import Link, Problem, Severity
from syncs.status.statistics import STREAK, Statistics

MINUTE = timedelta(minutes=1)
NO_HOLD = timedelta()
ENOUGH_RUNS = 5  # that a share of failures says anything
URGENT, WARNING, NOTICE = Level.URGENT, Level.WARNING, Level.NOTICE


class Edge(Enum):
    """Which measures a threshold takes."""

    ABOVE = "more than"
    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True)
class Rule:
    """threshold: in the unit; None for a rule without one. hold: how long a problem must last.

    most: the highest threshold that can be met. cause: of the problems that are the rule's own,
    whatever their severity.
    """

    name: str
    title: str
    why: str
    level: Level
    hold: timedelta = NO_HOLD
    threshold: float | None = None
    unit: str = ""
    enabled: bool = True
    edge: Edge = Edge.ABOVE
    most: float = 1_000_000
    cause: str = ""

    def is_met_by(self, measure: float | None) -> bool:
        """Whether the threshold takes it. What is not known is taken: a problem is named anyway."""
        if self.threshold is None or measure is None:
            return True
        if self.edge is Edge.AT_MOST:
            return measure <= self.threshold
        return measure > self.threshold or (
            self.edge is Edge.AT_LEAST and measure == self.threshold
        )


@dataclass(frozen=True)
class Found:
    """A problem that a rule makes an incident of."""

    problem: Problem
    rule: Rule

    @property
    def key(self) -> str:
        return self.problem.key


@dataclass(frozen=True)
class RunFacts:
    """What is known of the runs of a sync.

    of: how its executions of the last 24 h did. missed: scheduled times of the last hour that
    nothing ran in time. failed_on: the targets on which its last execution failed. noun: what a
    target of it is called.
    """

    title: str
    of: Statistics
    missed: int = 0
    failed_on: tuple[str, ...] = ()
    noun: str = "instance"


RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("leaver", "A person who left can still enter", "an open door", URGENT),
        Rule(
            "support_forged",
            "A support session that RAINBO never issued",
            "somebody has a key of RAINBO",
            URGENT,
            cause="support never issued",
        ),
        Rule("support_reused", "A support session was used twice", "a stolen link", URGENT),
        Rule(
            "support_not_ended",
            "A support session has not ended",
            "an open door that should be shut",
            URGENT,
            cause="support not ended",
        ),
        Rule("workers_dead", "No heartbeat of a worker", "nothing is synced any longer", URGENT),
        Rule(
            "queue_stalled",
            "The queue does not move",
            "runs wait and are not executed",
            URGENT,
            cause="stalled queue",
        ),
        Rule(
            "no_master",
            "No instance is the master",
            "routes are not refreshed",
            URGENT,
            cause="no master",
        ),
        Rule(
            "instance_down",
            "An instance is down",
            "one missed check is often the network; two in a row are the server",
            URGENT,
            threshold=2,
            unit="checks",
            edge=Edge.AT_LEAST,
            most=100,
        ),
        Rule(
            "credentials_refused",
            "An instance refuses RAINBO's credentials",
            "it does not pass by itself, and hides whatever else is wrong there",
            URGENT,
            cause="credentials refused",
        ),
        Rule("held", "A run waits for a decision", "nothing is published until then", URGENT),
        Rule(
            "stale", "Data is stale", "two scheduled times passed without a confirmation", WARNING
        ),
        Rule(
            "support_many_tenants",
            "One person enters many tenants as support",
            "more in an hour than RAINBO_SUPPORT_TENANTS_PER_HOUR",
            WARNING,
            cause="support in many tenants",
        ),
        Rule("failing", "A sync is failing", "the next attempt may succeed", WARNING, 5 * MINUTE),
        Rule("reconnect", "A connection must be renewed", "only a person can do it", WARNING),
        Rule(
            "failures_in_a_row",
            "Runs fail in a row",
            "three failures are no coincidence",
            WARNING,
            threshold=3,
            unit="runs",
            edge=Edge.AT_LEAST,
            most=STREAK,
        ),
        Rule(
            "failure_rate",
            "Too many runs fail",
            f"of at least {ENOUGH_RUNS} runs in 24 h; one that fails every other time is broken",
            WARNING,
            threshold=50,
            unit="percent",
            most=99,
        ),
        Rule(
            "replica_lag",
            "A replica lags behind",
            "what is read there is as old; a large transaction passes in minutes",
            WARNING,
            5 * MINUTE,
            threshold=300,
            unit="seconds",
            cause="replica lag",
        ),
        Rule(
            "certificate_ends",
            "A TLS certificate ends soon",
            "one that renews itself is renewed a month before; three weeks are left to do it",
            WARNING,
            threshold=21,
            unit="days",
            edge=Edge.AT_MOST,
            most=90,
            cause="certificate ends",
        ),
        Rule(
            "channel_failing",
            "A channel is failing",
            "its messages reach nobody; shorter failures pass by themselves",
            WARNING,
            15 * MINUTE,
        ),
        Rule("late", "Data is late", "it is stale soon", NOTICE, 5 * MINUTE),
        Rule(
            "slow",
            "Runs take long",
            "the average of 24 h; a sync that fills its period is late soon",
            NOTICE,
            threshold=300,
            unit="seconds",
        ),
        Rule(
            "missed",
            "Scheduled times are missed",
            "in the last hour; too few workers, or runs longer than their period",
            NOTICE,
            threshold=3,
            unit="scheduled times",
            edge=Edge.AT_LEAST,
            most=60,
        ),
        Rule(
            "token_ends",
            "An API token ends soon",
            "its program is refused then; two weeks are left to give it another",
            NOTICE,
            threshold=14,
            unit="days",
            edge=Edge.AT_MOST,
            most=90,
            cause="token ends",
        ),
        Rule(
            "degraded",
            "An instance is degraded",
            "it answers, but slowly or with errors",
            NOTICE,
            10 * MINUTE,
        ),
        Rule(
            "support_outside_hours",
            "Support entered a tenant outside its hours",
            "a person at night is unusual, and may be somebody else",
            NOTICE,
            cause="support outside hours",
        ),
        Rule(
            "unknown",
            "The state of data is not known",
            "usual for minutes after an instance was registered",
            NOTICE,
            60 * MINUTE,
        ),
        Rule("paused", "A sync is paused", "somebody wanted it so", NOTICE, enabled=False),
    )
}
BY_SEVERITY: Mapping[Severity, str] = {
    Severity.LEAVER_CAN_ENTER: "leaver",
    Severity.SUPPORT_SESSION_REUSED: "support_reused",
    Severity.WORKERS_DEAD: "workers_dead",
    Severity.INSTANCE_DOWN: "instance_down",
    Severity.HELD: "held",
    Severity.STALE: "stale",
    Severity.FAILING: "failing",
    Severity.RECONNECT_NEEDED: "reconnect",
    Severity.CHANNEL_FAILING: "channel_failing",
    Severity.LATE: "late",
    Severity.DEGRADED: "degraded",
    Severity.PAUSED: "paused",
    Severity.UNKNOWN: "unknown",
}
BY_CAUSE: Mapping[str, str] = {rule.cause: rule.name for rule in RULES.values() if rule.cause}


def in_force(stored: Iterable[StoredRule]) -> Mapping[str, Rule]:
    """The rules by their names, with what people changed of them."""
    changed = {row.name: row for row in stored}
    return {name: _changed(rule, changed.get(name)) for name, rule in RULES.items()}


def apply(
    rules: Mapping[str, Rule], problems: Iterable[Problem], runs: Iterable[RunFacts]
) -> list[Found]:
    """What is wrong by the rules that are switched on, the most severe first; each key once.

    A problem that sums up several is taken apart: each target has an incident of its own.
    """
    known: dict[str, Found] = {}
    whole = [part for problem in problems for part in problem.parts or (problem,)]
    for problem in whole:
        rule = rules[rule_of(problem)]
        if rule.is_met_by(problem.measure):
            known.setdefault(problem.key, Found(problem, rule))
    for facts in runs:
        for name in OF_RUNS:
            if judged := judge_runs(rules[name], facts):
                known.setdefault(judged.key, Found(judged, rules[name]))
    found = [one for one in known.values() if one.rule.enabled]
    return sorted(found, key=lambda one: (one.rule.level, one.problem.severity))


def may_explain(rules: Mapping[str, Rule], problem: Problem) -> bool:
    """Whether what it explains needs no message: it has its own, or somebody wanted it so.

    Of one whose rule is switched off, nothing at all would be sent.
    """
    return rules[rule_of(problem)].enabled or problem.severity is Severity.PAUSED


def cause_of(found: Problem, others: Iterable[Problem]) -> Problem | None:
    """The problem that explains this one, so that it needs no message of its own.

    Dead workers explain whatever is wrong with syncs; instances that are down, what is wrong with
    them alone; a replica that lags, that it is degraded; what a sync is failing for, that its runs
    fail in a row and for how long they take.
    """
    others = list(others)
    workers = next((p for p in others if p.severity is Severity.WORKERS_DEAD), None)
    if workers and found.key.startswith("sync/"):
        return workers
    if found.severity > Severity.INSTANCE_DOWN and found.affected:
        down = [p for p in others if p.severity is Severity.INSTANCE_DOWN and p.affected]
        if {key for p in down for key in p.affected}.issuperset(found.affected):
            return next(p for p in down if set(p.affected) & set(found.affected))
    subject, _, kind = found.key.rpartition("/")
    if kind == "degraded":
        lags = f"{subject}/replica lag"
        return next((problem for problem in others if problem.key == lags), None)
    if found.key.endswith(KINDS):
        same = [p for p in others if p.key.startswith(f"{subject}/") and not p.key.endswith(KINDS)]
        return min(same, key=lambda problem: problem.severity, default=None)
    return None


def judge_runs(rule: Rule, facts: RunFacts) -> Problem | None:
    """What a rule of runs finds in the runs of a sync."""
    return OF_RUNS[rule.name](rule, facts)


def rule_of(problem: Problem) -> str:
    """The name of the rule that a problem belongs to."""
    return BY_CAUSE.get(problem.cause, BY_SEVERITY[problem.severity])


def _failures_in_a_row(rule: Rule, facts: RunFacts) -> Problem | None:
    count = facts.of.failures_in_a_row
    if not count or not rule.is_met_by(count):
        return None
    words = f"the last {counted(count, 'run')} of {_name(facts)} failed"
    return _problem(facts, "failures in a row", Severity.FAILING, words)


def _failure_rate(rule: Rule, facts: RunFacts) -> Problem | None:
    count, failed = facts.of.executions, facts.of.failures
    if count < ENOUGH_RUNS or not rule.is_met_by(100 * failed / count):
        return None
    words = f"{failed:,} of the {count:,} runs of {_name(facts)} in the last 24 h failed"
    return _problem(facts, "failure rate", Severity.FAILING, words)


def _slow(rule: Rule, facts: RunFacts) -> Problem | None:
    average = facts.of.average_seconds
    if average is None or not rule.is_met_by(average):
        return None
    took, most = (format_duration(timedelta(seconds=s)) for s in (average, rule.threshold or 0))
    words = f"runs of {_name(facts)} took {took} on average in the last 24 h, more than {most}"
    return _problem(facts, "duration", Severity.LATE, words)


def _missed(rule: Rule, facts: RunFacts) -> Problem | None:
    if not facts.missed or not rule.is_met_by(facts.missed):
        return None
    missed = counted(facts.missed, "scheduled time")
    words = f"{missed} of {_name(facts)} in the last hour had no run in time"
    return _problem(facts, "missed", Severity.LATE, words)


# By the rule's name: what judges the runs of a sync.
OF_RUNS: Mapping[str, Callable[[Rule, RunFacts], Problem | None]] = {
    "failures_in_a_row": _failures_in_a_row,
    "failure_rate": _failure_rate,
    "slow": _slow,
    "missed": _missed,
}
KINDS = ("/failures in a row", "/failure rate", "/duration", "/missed")  # ends of their keys


def _problem(facts: RunFacts, kind: str, severity: Severity, words: str) -> Problem:
    sync, run = facts.of.sync, facts.of.last_run
    return Problem(
        key=f"sync/{sync}/{kind}",
        severity=severity,
        cause=kind,
        text=words,
        link=Link("run", str(run)) if run else Link("sync", sync),
        affected=facts.failed_on,
        source="syncs",
        about_all="" if facts.failed_on else facts.noun,
    )


def _name(facts: RunFacts) -> str:
    return facts.title[:1].lower() + facts.title[1:]


def _changed(rule: Rule, stored: StoredRule | None) -> Rule:
    if stored is None:
        return rule
    hold = stored.hold_seconds
    return replace(
        rule,
        level=rule.level if stored.level is None else Level(stored.level),
        hold=rule.hold if hold is None else timedelta(seconds=hold),
        threshold=rule.threshold if stored.threshold is None else stored.threshold,
        enabled=stored.enabled,
    )
