"""An e-mail's accounts side by side, as the page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from common import markup
from common.markup import Tone
from common.text import sentence
from tenants.find import comparison
from tenants.find.comparison import Account, Blank, Line, Sameness, Value
from tenants.find.live_answers import LiveLookup
from tenants.find.lookup import Lookup

MOST = 50  # accounts, those that differ or are unknown first


@dataclass(frozen=True)
class ShownLine:
    """A field. cells: what each side has, by the side's name."""

    label: str
    cells: tuple[tuple[str, SafeString | str], ...]
    state: SafeString | str
    differs: bool


@dataclass(frozen=True)
class ShownAccount:
    """row: where the directory has it. others: the fields that don't differ."""

    title: str
    row: str
    sides: tuple[str, ...]
    state: SafeString
    differences: tuple[str, ...]
    differing: tuple[ShownLine, ...]
    others: tuple[ShownLine, ...]


@dataclass(frozen=True)
class LiveResult:
    """summary: the result in a sentence. more: accounts that are not shown."""

    at: SafeString
    summary: str
    problems: tuple[str, ...]
    accounts: tuple[ShownAccount, ...]
    more: int


def shown(found: Lookup, live: LiveLookup) -> LiveResult:
    accounts = comparison.accounts(found, live)
    worst_first = sorted(accounts, key=lambda account: account.sameness)
    return LiveResult(
        at=markup.moment(live.at, live.at),
        summary=_summary(accounts, live),
        problems=tuple(map(sentence, live.problems)),
        accounts=tuple(_account(account, live.at) for account in worst_first[:MOST]),
        more=max(0, len(accounts) - MOST),
    )


def _summary(accounts: tuple[Account, ...], live: LiveLookup) -> str:
    answered = [not live.master.problem, *(not one.problem for one in live.instances.values())]
    if not any(answered):
        return "No server answered. The cached accounts are above."
    if not accounts:
        if not all(answered):
            return "No account where a server answered. The others are unknown."
        return "No account there either."
    return comparison.summary(accounts)


def _account(account: Account, now: datetime) -> ShownAccount:
    differences = (*comparison.on_master(account), *comparison.on_instance(account))
    sides = ("in the cache", "on the master", f"on {account.at}")
    lines = [_line(line, sides, now) for line in account.lines]
    return ShownAccount(
        title=sentence(account.title).removesuffix("."),
        row=sentence(f"{account.row} of the directory") if account.row else "",
        sides=sides,
        state=_state(account),
        differences=tuple(sentence(d.removeprefix(f"{account.name}: ")) for d in differences),
        differing=tuple(line for line in lines if line.differs),
        others=tuple(line for line in lines if not line.differs),
    )


def _state(account: Account) -> SafeString:
    match account.sameness:
        case Sameness.SAME:
            return markup.badge("the same", Tone.GOOD)
        case Sameness.UNKNOWN:
            return markup.badge(f"unknown: {account.unanswered}", Tone.QUIET)
    return markup.badge("differs", Tone.BAD)


def _line(line: Line, sides: tuple[str, ...], now: datetime) -> ShownLine:
    values = (line.cached, line.master, line.there)
    word = "same" if line.is_compared else "–"
    word = "unknown" if line.is_unknown else word
    return ShownLine(
        label=line.label,
        cells=tuple((side, _cell(v, now)) for side, v in zip(sides, values, strict=True)),
        state=markup.badge("differs", Tone.BAD) if line.differs else markup.quiet(word),
        differs=line.differs,
    )


def _cell(value: Value, now: datetime) -> SafeString | str:
    if isinstance(value, Blank):
        return markup.quiet(value.value)
    if isinstance(value, datetime):
        return markup.moment(value, now)
    return markup.quiet("unknown") if value is None else str(value)
