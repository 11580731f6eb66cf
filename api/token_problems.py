"""Tokens that will not be valid for long: whoever uses them must get others in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.models import ApiToken
from common import text
from common.clock import from_iso
from common.joint_query import Answers, Questions
from syncs.status.problems import Link, Past, Problem, Severity, Sight, Source

CAUSE = "token ends"
SOON = 14  # days: what the first page calls a problem, and the alert's rule by default
WATCHED = 97  # days: the longest threshold of the rule, and a week that its preview looks back
DAY = timedelta(days=1)
KEPT = 30 * DAY  # after its end: by then, whoever needed it has another


@dataclass(frozen=True)
class EndingToken:
    pk: int
    name: str
    ends_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True)
class TokenFacts:
    now: datetime
    ending: tuple[EndingToken, ...] = ()


def ask(now: datetime) -> Questions:
    rows = ApiToken.objects.filter(
        revoked_at=None, expires_at__gt=now - KEPT, expires_at__lte=now + WATCHED * DAY
    )
    fields = ("pk", "name", "expires_at", "last_used_at")
    return {"ending": rows.order_by("expires_at", "pk").values(*fields)}


def read(answers: Answers, now: datetime) -> TokenFacts:
    ending = (
        EndingToken(
            pk=row["pk"],
            name=row["name"],
            ends_at=datetime.fromisoformat(row["expires_at"]),
            last_used_at=from_iso(row["last_used_at"]),
        )
        for row in answers["ending"]
    )
    return TokenFacts(now, tuple(ending))


def judge(facts: TokenFacts, _: Sequence[Problem] = ()) -> Iterator[Problem]:
    for problem in watch(facts):
        if problem.measure is not None and problem.measure <= SOON:
            yield problem


def watch(facts: TokenFacts) -> Iterator[Problem]:
    """measure: days for which the token is valid, below 0 when it has ended."""
    for token in facts.ending:
        left = token.ends_at - facts.now
        verb = "expires" if left > timedelta() else "expired"
        used = token.last_used_at
        use = f"last used on {used:%Y-%m-%d}" if used else "never used"
        yield Problem(
            key=f"token/{token.pk}",
            severity=Severity.DEGRADED,
            cause=CAUSE,
            text=f"the API token {text.truncate(token.name)} ({use}) {verb} on "
            f"{token.ends_at:%Y-%m-%d %H:%M} UTC: make another for its program, and revoke it",
            link=Link("token", str(token.pk)),
            measure=left / DAY,
        )


def past(since: datetime, until: datetime) -> Past:
    """From the dates of the tokens of now, to the day."""
    times = [until - n * DAY for n in range((until - since).days, -1, -1)]
    tokens = TOKENS.read_alone(until).ending
    sights = [
        Sight(at, problem.key, problem) for at in times for problem in watch(TokenFacts(at, tokens))
    ]
    return Past(sights, since, "tokens that were revoked since; times are to the day")


TOKENS = Source(
    name="tokens",
    ask=ask,
    read=read,
    judge=judge,
    permissions=("api.view_apitoken", "api.change_apitoken"),
    watch=watch,
    past={CAUSE: past},
)
