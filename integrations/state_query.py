"""The states of connections as one expression of SQL, where many are listed or counted.

It says what `integrations.due` says of each; a test compares them case by case.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import (
    Case,
    CharField,
    Count,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.expressions import RawSQL

from integrations import due, plugin, states
from integrations.due import State
from integrations.models import Connection

NAME = "state_found"
MINUTE = Value(timedelta(minutes=1))
PERIOD_END = ExpressionWrapper(
    F("last_successful_update_at")
    + ExpressionWrapper(F("update_frequency_minutes") * MINUTE, DurationField()),
    DateTimeField(),
)


def with_state(rows: QuerySet[Connection], now: datetime) -> QuerySet[Connection]:
    """Add the state of each as `state_found`."""
    return rows.alias(period_end=PERIOD_END).annotate(**{NAME: _state(now)})


def count(rows: QuerySet[Connection]) -> dict[State, int]:
    """Return how many of these are in each state that any is in, the most pressing first.

    rows: from `with_state`.
    """
    found = rows.order_by().values_list(NAME).annotate(Count("pk"))
    counts = {State(name): number for name, number in found}
    return {state: counts[state] for state in State if state in counts}


def _state(now: datetime) -> Case:
    """The conditions of `due.judge`, in its order."""
    told_to_wait, to_come = Q(last_error=""), Q(not_before__gt=now)
    by_hand = [name for name, one in plugin.all_plugins().items() if not one.is_automatic()]
    never, marked = Q(last_successful_update_at=None), ~Q(last_triggered_at=None)
    is_live = Q(run__in=RawSQL(states.LIVE_RUNS, []))  # noqa: S611 (a constant)
    is_marked = marked & (never | Q(last_triggered_at__gt=F("last_successful_update_at")))
    failed = Q(attempt__gt=0)
    goes_on = ~never & Q(attempt=0)  # else its period is over
    in_period = goes_on & Q(period_end__gt=now)
    lasts_longer = ~goes_on | Q(not_before__gte=F("period_end")) | Q(period_end__lte=now)
    return Case(
        When(enabled=False, then=Value(str(State.DISABLED))),
        When(owner__is_active=False, then=Value(str(State.PAUSED))),
        When(~Q(reconnect_since=None), then=Value(str(State.RECONNECT))),
        When(is_marked & is_live, then=Value(str(State.PROCESSING))),
        When(paused_until__gt=now, then=Value(str(State.PAUSED))),
        When(service__in=by_hand, then=Value(str(State.CONNECTED))),
        When(
            failed & ~(told_to_wait & to_come) & Q(attempt__gt=len(due.RETRIES)),
            then=Value(str(State.FAILED)),
        ),
        When(failed & ~(told_to_wait & to_come), then=Value(str(State.RETRYING))),
        When(~told_to_wait & Q(attempt=0) & to_come, then=Value(str(State.HELD))),
        When(to_come & lasts_longer, then=Value(str(State.WAITING))),
        When(in_period, then=Value(str(State.CONNECTED))),
        default=Value(str(State.DUE)),
        output_field=CharField(),
    )
