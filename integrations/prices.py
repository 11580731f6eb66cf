"""Keeps models and their prices as their records say, with every change of a price.

All of it happens in the transaction that publishes the records, from which a model is derived. A
catalogue in which nothing changed costs no statement beyond one by an index that is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings

from common.text import counted
from integrations.catalogues.offer import KIND, PRICES, price_text
from syncs.engine.guard import Limit
from syncs.transfer.session import Session

DELISTED_AFTER = 3  # full listings in a row that did not have it

_GIVEN = ", ".join(f"(record.body->'prices'->>'{name}')::numeric AS {name}" for name in PRICES)
_NAMES = ", ".join(PRICES)
_PAIRS = ", ".join(f"('{name}', model.{name}, given.{name})" for name in PRICES)
_OF_RUN = f"""
    FROM (SELECT record.*, {_GIVEN} FROM integrations_externalrecord AS record
           WHERE record.connection_id = %(connection)s AND record.kind = '{KIND}'
             AND record.run_id = %(run)s AND record.gone_at IS NULL) AS given"""  # noqa: S608 (constants of ours)
_CHANGES = f"""
    SELECT model.id, model.name, price.field, price.old, price.new
    {_OF_RUN}
      JOIN integrations_cataloguemodel AS model
        ON model.connection_id = given.connection_id AND model.name = given.external_id
     CROSS JOIN LATERAL (VALUES {_PAIRS}) AS price (field, old, new)
     WHERE price.old IS DISTINCT FROM price.new
     ORDER BY model.name, price.field"""  # noqa: S608 (constants of ours)
_KNOWN = f"""
    SELECT coalesce(sum(num_nonnulls({_NAMES})), 0) FROM integrations_cataloguemodel
     WHERE connection_id = %(connection)s AND state <> 'delisted'"""  # noqa: S608 (constants of ours)
_REMEMBER = """
    INSERT INTO integrations_pricechange (model_id, field, old, new, at)
    SELECT *, %(at)s FROM unnest(%(models)s::bigint[], %(fields)s::text[],
                                 %(olds)s::numeric[], %(news)s::numeric[])"""
_STORE = f"""
    INSERT INTO integrations_cataloguemodel AS known (
           connection_id, name, base_name, provider, mode, context, ends_on, {_NAMES},
           varies, alias_of, state, missing, state_since, first_seen_at, priced_at)
    SELECT given.connection_id, given.external_id,
           lower(regexp_replace(given.external_id, '^.*/', '') COLLATE "C"),
           given.body->>'provider', given.body->>'mode', (given.body->>'context')::bigint,
           (given.body->>'ends_on')::date, {_NAMES}, given.body->>'varies',
           given.body->>'alias_of', 'listed', 0, %(at)s, %(at)s, %(at)s
    {_OF_RUN}
        ON CONFLICT (connection_id, name) DO UPDATE
       SET provider = excluded.provider, mode = excluded.mode,
           context = excluded.context, ends_on = excluded.ends_on,
           {", ".join(f"{name} = excluded.{name}" for name in PRICES)},
           varies = excluded.varies, alias_of = excluded.alias_of, missing = 0,
           state = CASE known.state WHEN 'delisted' THEN 'back' WHEN 'missing' THEN 'listed'
                   ELSE known.state END,
           state_since = CASE WHEN known.state IN ('delisted', 'missing') THEN excluded.state_since
                         ELSE known.state_since END,
           priced_at = CASE WHEN ({", ".join(f"known.{name}" for name in PRICES)})
                            IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in PRICES)})
                       THEN excluded.priced_at ELSE known.priced_at END"""  # noqa: S608 (constants of ours)
_MISSING_AGAIN = f"""
    UPDATE integrations_cataloguemodel
       SET missing = missing + 1,
           state = CASE WHEN missing + 1 >= {DELISTED_AFTER} THEN 'delisted' ELSE 'missing' END,
           state_since = CASE WHEN missing + 1 >= {DELISTED_AFTER} THEN %(at)s ELSE state_since END
     WHERE connection_id = %(connection)s AND state = 'missing'"""  # noqa: S608 (constants of ours)
_MISSING_FIRST = """
    UPDATE integrations_cataloguemodel SET missing = 1, state = 'missing', state_since = %(at)s
     WHERE connection_id = %(connection)s AND state IN ('listed', 'back')
       AND name = ANY (%(absent)s)"""


@dataclass(frozen=True)
class Change:
    """A price that changes; None: unknown."""

    model: int
    name: str
    field: str
    old: Decimal | None
    new: Decimal | None

    @property
    def factor(self) -> Decimal | None:
        """By how much it rises or falls; None if one of the two is unknown, or free."""
        if not self.old or not self.new:
            return None
        return max(self.old / self.new, self.new / self.old)

    @property
    def detail(self) -> str:
        """`input: 0.15 → 0.6`, as held changes are shown."""
        return f"{self.field}: {_shown(self.old)} → {_shown(self.new)}"


def find_changes(session: Session, connection: int, run: int) -> list[Change]:
    """Return which prices differ in the records that this run wrote, from those of the models."""
    given = {"connection": connection, "run": run}
    return [Change(*row) for row in session.execute(_CHANGES, given)]


def judge(session: Session, connection: int, changes: Sequence[Change]) -> list[str]:
    """Return why these changes must be held for review; empty if they may be published."""
    replaced = sum(change.old is not None for change in changes)
    if not replaced:
        return []
    found = session.execute(_KNOWN, {"connection": connection}).fetchone()
    known = found[0] if found else 0
    reasons = []
    if Limit(*settings.RAINBO_GUARD_PRICES_CHANGED).exceeded(replaced, known):
        reasons.append(f"{replaced:,} of {known:,} prices ({replaced / known:.0%}) would change")
    most = settings.RAINBO_GUARD_PRICE_FACTOR
    leaps = sum((change.factor or 0) >= most for change in changes)
    if leaps:
        reasons.append(f"{counted(leaps, 'price')} would change by a factor of {most} or more")
    return reasons


def publish(
    session: Session, connection: int, run: int, changes: Sequence[Change], at: datetime
) -> None:
    """Write the models of the records that this run wrote, and the changes of their prices."""
    given: dict[str, Any] = {"connection": connection, "run": run, "at": at}
    if changes:
        columns = {
            "models": [change.model for change in changes],
            "fields": [change.field for change in changes],
            "olds": [change.old for change in changes],
            "news": [change.new for change in changes],
        }
        session.execute(_REMEMBER, given | columns)
    session.execute(_STORE, given)


def note_missing(session: Session, connection: int, absent: Sequence[str], at: datetime) -> None:
    """After a full listing and `publish`: count it for the models that it did not have."""
    given: dict[str, Any] = {"connection": connection, "absent": [*absent], "at": at}
    session.execute(_MISSING_AGAIN, given)
    if absent:
        session.execute(_MISSING_FIRST, given)


def _shown(price: Decimal | None) -> str:
    return "unknown" if price is None else price_text(price)
