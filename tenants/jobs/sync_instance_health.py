"""The health of every instance → instance_checks and rds_instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial

from psycopg.types.json import Jsonb

from syncs.engine import guard, held
from syncs.engine.guard import Decision
from syncs.engine.run import Confirmed, Run
from syncs.errors import LoginRejected
from syncs.models import TargetState, Trigger
from syncs.transfer.session import Session
from tenants.fleet import certificates, change_check, connections, contract, resolution
from tenants.fleet.certificates import Certificates
from tenants.fleet.targets import as_target, selected_instances
from tenants.health.probe import HealthProbe, describe_replica, measure
from tenants.models import RdsInstance
from tenants.models.instance import Health

NAME = "sync_instance_health"
LIMIT = 10.0  # seconds for the whole check of one instance

_CHECKED = """
      FROM jsonb_to_recordset(%(rows)s) AS checked (
           instance bigint, health text, latency_ms float8, skew_ms float8, connections integer,
           max_connections integer, version text, reached boolean, is_replica boolean,
           replica_lag_s float8, error text)"""
_CHECK = f"""
    INSERT INTO instance_checks AS checks (
        instance_id, minute, health, latency_ms, skew_ms, connections, max_connections,
        server_version, error, replica_lag_s
    )
    SELECT instance, date_trunc('minute', %(at)s::timestamptz), health, latency_ms, skew_ms,
           connections, max_connections, version, error, replica_lag_s
    {_CHECKED}
    ON CONFLICT (instance_id, minute) DO UPDATE
       SET (health, latency_ms, skew_ms, connections, max_connections, server_version, error,
            replica_lag_s) =
           (excluded.health, excluded.latency_ms, excluded.skew_ms, excluded.connections,
            excluded.max_connections, excluded.server_version, excluded.error,
            excluded.replica_lag_s)"""  # noqa: S608 (constants)
_INSTANCE = f"""
    UPDATE rds_instances AS known
       SET health = checked.health, last_check_at = %(at)s, latency_ms = checked.latency_ms,
           last_error = checked.error,
           server_version = coalesce(nullif(checked.version, ''), known.server_version),
           is_replica = CASE WHEN checked.reached THEN checked.is_replica
                        ELSE known.is_replica END,
           replica_lag_s = checked.replica_lag_s
    {_CHECKED}
     WHERE known.id = checked.instance"""  # noqa: S608 (constants)
_CERTIFICATES = """
    UPDATE rds_instances
       SET certificate_ends_at = %(server)s, ca_ends_at = %(ca)s, certificate_read_at = %(at)s,
           certificate_of = %(digest)s
     WHERE id = %(instance)s"""
# One that can't be read is not asked for each minute, but a day later. Of the same address, what
# was read before still holds.
_TRIED = """
    UPDATE rds_instances
       SET certificate_ends_at = CASE WHEN certificate_of = %(digest)s
                                 THEN certificate_ends_at END,
           ca_ends_at = CASE WHEN certificate_of = %(digest)s THEN ca_ends_at END,
           certificate_read_at = %(at)s, certificate_of = %(digest)s
     WHERE id = %(instance)s"""
ASKED = (Trigger.COMMAND, Trigger.BUTTON)  # by a person, who wants to see a new certificate


@dataclass(frozen=True)
class _Moved:
    """plan: the change of tables, to be reviewed."""

    plan: list[tuple[str, str, str]]
    decision: Decision


def sync_instance_health(run: Run) -> None:
    """Check every instance once and store the result."""
    instances = selected_instances(run)
    run.expect(map(as_target, instances))

    text = cache(partial(contract.text, NAME))  # read once for each schema group

    def check(instance: RdsInstance, source: connections.Connection) -> HealthProbe:
        return measure(source, text(instance.schema_group), run.now)

    outcomes = connections.each_instance(
        instances,
        check,
        run.record.purpose,
        remember=not run.dry_run,
        limit=LIMIT,
        log=run.log,
    )
    moved = _moved(run, outcomes)
    waiting = {target: one for target, one in moved.items() if one.decision.reasons}
    tried, shown = _certificates(run, outcomes)
    with run.publishing() as session:
        changed = change_check.changed_since_read(session, instances)
        unseen = changed.keys() | waiting.keys()
        seen = [outcome for outcome in outcomes if str(outcome.instance.pk) not in unseen]
        _write(session, seen, run.now())
        with session.cursor() as cursor:
            kept = [one for one in tried if str(one.pk) not in changed]
            for statement, rows in _certificate_rows(kept, shown, run.now()):
                cursor.executemany(statement, rows)
        run.confirm_all(session, [_confirmed(o.instance, o.value) for o in seen if o.value])
        if any(moved[target].decision.accepted for target in moved.keys() - changed.keys()):
            run.use_acceptance(session)
    with run.batched():
        for outcome in outcomes:
            target = str(outcome.instance.pk)
            if error := changed.get(target):
                outcome = replace(outcome, value=None, error=error)
            elif target in waiting:
                _hold(run, outcome, waiting[target])
                continue
            _record_outcome(run, outcome)


def _moved(run: Run, outcomes: Sequence[connections.Outcome[HealthProbe]]) -> dict[str, _Moved]:
    """Return the instances where the query read other tables than when it was last confirmed."""
    known = resolution.remembered(run.record.sync)
    found = {}
    for outcome in outcomes:
        target, seen = str(outcome.instance.pk), outcome.value
        if seen and (change := seen.tables.change_since(known.get(target))):
            plan = [resolution.change_to_review(change)]
            reasons = resolution.reasons(change)
            decision = guard.decide_reasons(run, target, reasons, held.as_query(plan))
            found[target] = _Moved(plan, decision)
    return found


def _hold(run: Run, outcome: connections.Outcome[HealthProbe], moved: _Moved) -> None:
    target, reasons = str(outcome.instance.pk), moved.decision.reasons
    run.hold(target, reasons, moved.plan)
    note = "; ".join(reasons)
    run.record_outcome(target, TargetState.HELD, note=note, seconds=outcome.seconds)


def _confirmed(instance: RdsInstance, seen: HealthProbe) -> Confirmed:
    return Confirmed(str(instance.pk), seen.at, rows=1, tables=seen.tables.as_json())


def _certificates(
    run: Run, outcomes: Sequence[connections.Outcome[HealthProbe]]
) -> tuple[list[RdsInstance], dict[int, Certificates]]:
    """Return whose certificates were asked for, and those that could be read."""
    now, again = run.now(), run.record.trigger in ASKED
    due = [
        outcome.instance
        for outcome in outcomes
        if outcome.value and (again or certificates.is_due(outcome.instance, now))
    ]
    return due, certificates.read_all(due) if due and not run.dry_run else {}


def _certificate_rows(
    tried: Sequence[RdsInstance], shown: Mapping[int, Certificates], at: datetime
) -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Yield statements and what to execute them with."""
    rows: dict[str, list[dict[str, object]]] = {}
    for instance in tried:
        row = {"instance": instance.pk, "at": at, "digest": certificates.digest(instance)}
        if found := shown.get(instance.pk):
            row |= {"server": found.server, "ca": found.ca}
        rows.setdefault(_CERTIFICATES if found else _TRIED, []).append(row)
    yield from rows.items()


def _write(
    session: Session, outcomes: Sequence[connections.Outcome[HealthProbe]], at: datetime
) -> None:
    given = {"rows": Jsonb([_row(outcome) for outcome in outcomes]), "at": at}
    session.execute(_CHECK, given)
    session.execute(_INSTANCE, given)


def _row(outcome: connections.Outcome[HealthProbe]) -> dict[str, object]:
    seen = outcome.value
    return {
        "instance": outcome.instance.pk,
        "health": _health(outcome).value,
        "latency_ms": seen and seen.latency_ms,
        "skew_ms": seen and seen.skew_ms,
        "connections": seen and seen.connections,
        "max_connections": seen and seen.max_connections,
        "version": seen.version if seen else "",
        "reached": seen is not None,
        "is_replica": bool(seen and seen.replica),
        "replica_lag_s": seen.replica.lag if seen and seen.replica else None,
        "error": "; ".join(seen.warnings) if seen else str(outcome.error),
    }


def _health(outcome: connections.Outcome[HealthProbe]) -> Health:
    if outcome.value is not None:
        return outcome.value.health
    return Health.REFUSED if isinstance(outcome.error, LoginRejected) else Health.DOWN


def _record_outcome(run: Run, outcome: connections.Outcome[HealthProbe]) -> None:
    key, seen = str(outcome.instance.pk), outcome.value
    if seen is None:
        run.record_outcome(key, TargetState.FAILED, error=outcome.error, seconds=outcome.seconds)
        return
    notes = [f"{seen.health}, {seen.latency_ms:.1f} ms, PostgreSQL {seen.version}", *seen.warnings]
    if seen.replica is not None:
        notes.insert(1, describe_replica(seen.replica.lag))
    run.record_outcome(key, TargetState.SUCCEEDED, note="; ".join(notes), seconds=outcome.seconds)
