"""An e-mail's accounts side by side: in the cache, on the master, on the instance. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from common.text import counted
from tenants.find.live_answers import LiveLookup, LiveRoute, LiveUser, ServerAnswer
from tenants.find.lookup import Lookup
from tenants.routes.queries import Route, instance_called

LABELS = {
    "email": "e-mail",
    "instance_id": "instance",
    "tenant_id": "tenant",
    "user_id": "user",
    "user_name": "name",
    "status": "status",
    "source_updated_at": "time of change",
    "last_login_at": "last sign-in",
}
KEPT = tuple(LABELS)[:-1]  # in the cache and on the master
THERE = ("email", "tenant_id", "user_name", "status")  # on the instance, too


class Blank(Enum):
    """Why a side has no value at all."""

    MISSING = "no such account"
    NO_ANSWER = "did not answer"
    NOT_KEPT = "not kept"


class Sameness(IntEnum):
    """Whether an account is the same everywhere, the worst first."""

    DIFFERS = auto()
    UNKNOWN = auto()
    SAME = auto()


Value = object | None  # None: unknown


@dataclass(frozen=True)
class Line:
    """One field on each side."""

    label: str
    cached: Value
    master: Value
    there: Value

    @property
    def known(self) -> list[Value]:
        return [v for v in (self.cached, self.master, self.there) if not isinstance(v, Blank)]

    @property
    def differs(self) -> bool:
        return any(value != self.known[0] for value in self.known)

    @property
    def is_compared(self) -> bool:
        return len(self.known) > 1

    @property
    def is_unknown(self) -> bool:
        """Whether a side did not answer, or none of those that keep it has a value."""
        is_blank = self.is_compared and all(value is None for value in self.known)
        return is_blank or Blank.NO_ANSWER in (self.cached, self.master, self.there)


@dataclass(frozen=True)
class Account:
    """One account. cached, listed, user: as the cache, the master and its instance have it."""

    cached: Route | None
    listed: LiveRoute | None
    user: LiveUser | None
    directory: ServerAnswer[LiveRoute]
    place: ServerAnswer[LiveUser]

    @property
    def name(self) -> str:
        """What no other account is called."""
        return f"{self.row}, {self.title}" if self.row else self.title

    @property
    def row(self) -> str:
        """Where the directory has it, or had it."""
        known = self.listed or self.cached
        return f"row {known.source_id}" if known else ""

    @property
    def title(self) -> str:
        """`tenant 7 “Acme” on instance 2 (rds2)`, where the latest word has it."""
        known = self.listed or self.cached or self.user
        tenant_id = known.tenant_id if known else None
        if tenant_id is None:
            return f"an account without tenant on {self.at}"
        name = self.cached.tenant_name if self.cached and not self._moved else None
        return f"tenant {tenant_id}{f' “{name}”' if name else ''} on {self.at}"

    @property
    def _moved(self) -> bool:
        """Whether the master has it in another tenant than the cache."""
        if self.cached is None or self.listed is None:
            return False
        ours = self.cached.instance_id, self.cached.tenant_id
        return ours != (self.listed.instance_id, self.listed.tenant_id)

    @property
    def at(self) -> str:
        return self.place.label

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(self._line(field) for field in LABELS)

    @property
    def sameness(self) -> Sameness:
        """Whether all agree on the account and on every field: unknown unless all answered."""
        sides = [self.cached is not None]
        sides += [] if self.directory.problem else [self.listed is not None]
        sides += [] if self.place.problem else [self.user is not None]
        if not all(sides) or any(line.differs for line in self.lines):
            return Sameness.DIFFERS
        return Sameness.UNKNOWN if self.unanswered else Sameness.SAME

    @property
    def unanswered(self) -> str:
        """`the master and instance 2 (rds2) did not answer`; empty if both did."""
        answers = (("the master", self.directory), (self.at, self.place))
        silent = [name for name, answer in answers if answer.problem]
        return f"{' and '.join(silent)} {Blank.NO_ANSWER.value}" if silent else ""

    def _line(self, field: str) -> Line:
        kept, there = field in KEPT, field in THERE or field == "last_login_at"
        return Line(
            LABELS[field],
            cached=self._value(self.cached, field) if kept else Blank.NOT_KEPT,
            master=self._value(self.listed, field, self.directory) if kept else Blank.NOT_KEPT,
            there=self._value(self.user, field, self.place) if there else self._where(field),
        )

    def _where(self, field: str) -> Value:
        """What the instance shows by having the user: that it is this instance, and this id."""
        if self.user is not None and field == "user_id":
            return self.user.user_id
        if self.user is not None and field == "instance_id":
            known = self.listed or self.cached
            return known.instance_id if known else self.at
        return self._value(self.user, "", self.place)

    def _value(
        self,
        side: Route | LiveRoute | LiveUser | None,
        field: str,
        answer: ServerAnswer[LiveRoute] | ServerAnswer[LiveUser] | None = None,
    ) -> Value:
        if side is None:
            return Blank.NO_ANSWER if answer and answer.problem else Blank.MISSING
        return getattr(side, field) if field else Blank.NOT_KEPT


def accounts(found: Lookup, live: LiveLookup) -> tuple[Account, ...]:
    """Those that the directory has or had, then those that only an instance has."""
    cached = {route.source_id: route for route in found.shown + found.withheld}
    listed = {route.source_id: route for route in live.master.rows}
    made, taken = [], set()
    for source_id in dict.fromkeys([*cached, *listed]):
        known = listed.get(source_id) or cached[source_id]
        place = live.instances.get(
            known.instance_id, ServerAnswer(instance_called(known.instance_id))
        )
        user = next((user for user in place.rows if user.user_id == known.user_id), None)
        taken.add((known.instance_id, known.user_id))
        made.append(Account(cached.get(source_id), listed.get(source_id), user, live.master, place))
    for instance_id, place in live.instances.items():
        more = [user for user in place.rows if (instance_id, user.user_id) not in taken]
        made += [Account(None, None, user, live.master, place) for user in more]
    return tuple(made)


def counts(accounts: Iterable[Account]) -> dict[str, int]:
    """How many accounts there are of each sameness, by its name."""
    found = Counter(account.sameness for account in accounts)
    return {one.name.lower(): found[one] for one in Sameness}


def summary(accounts: Sequence[Account]) -> str:
    """`2 of 3 accounts are the same; 1 is unknown.`"""
    differ, unknown, same = counts(accounts).values()
    whole = counted(len(accounts), "account")
    if same == len(accounts):
        return f"{whole} {_be(same)} the same everywhere."
    if unknown == len(accounts):
        return f"{whole} {_be(unknown)} unknown."
    said = f"{same:,} of {whole} {_be(same)} the same"
    if differ:
        said = f"{differ:,} of {whole} {'differs' if differ == 1 else 'differ'}"
    return f"{said}; {unknown:,} {_be(unknown)} unknown." if unknown else f"{said}."


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def on_master(account: Account) -> Iterator[str]:
    """Where the cache and the master differ."""
    if account.directory.problem or (account.cached is None and account.listed is None):
        return
    if account.cached is None:
        yield f"{account.name} is on the master only"
    elif account.listed is None:
        yield f"{account.name} is in the cache only"
    else:
        for field in KEPT:
            ours, theirs = getattr(account.cached, field), getattr(account.listed, field)
            if ours != theirs:
                yield (
                    f"{account.name}: {LABELS[field]} is {word(ours)} in the cache and "
                    f"{word(theirs)} on the master"
                )


def on_instance(account: Account) -> Iterator[str]:
    """Where the instance differs from the master, or from the cache when that has no answer."""
    known = account.listed or account.cached
    if account.place.problem:
        return
    if known is None:
        if account.user is not None:
            yield f"user {account.user.user_id} has this e-mail and is not in the directory"
    elif account.user is None:
        yield f"{account.name}: user {word(known.user_id)} is not on {account.at}"
    else:
        where = "on the master" if account.listed else "in the cache"
        for field in THERE:
            ours, theirs = getattr(known, field), getattr(account.user, field)
            if ours != theirs:
                yield (
                    f"{account.name}: {LABELS[field]} is {word(ours)} {where} and {word(theirs)} "
                    f"on {account.at}"
                )


def word(value: object) -> str:
    return "unknown" if value is None else str(value)
