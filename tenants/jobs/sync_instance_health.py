"""Vital signs of every instance → instance_checks and rds_instances."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from syncs.models import TargetState
from syncs.run import Run
from syncs.session import Session
from tenants import contract, fleet, presence
from tenants.choice import as_target, chosen
from tenants.models import RdsInstance
from tenants.models.instance import Health
from tenants.vitals import Vitals, measure

NAME = "sync_instance_health"
LIMIT = 10.0  # seconds for the whole check of one instance
KEPT = timedelta(days=7)  # how long the rows of each minute stay

_CHECK = """
    INSERT INTO instance_checks AS checks (
        instance_id, minute, health, latency_ms, skew_ms, connections, max_connections,
        server_version, error
    ) VALUES (
        %(instance)s, date_trunc('minute', %(at)s::timestamptz), %(health)s, %(latency_ms)s,
        %(skew_ms)s, %(connections)s, %(max_connections)s, %(version)s, %(error)s
    )
    ON CONFLICT (instance_id, minute) DO UPDATE
       SET (health, latency_ms, skew_ms, connections, max_connections, server_version, error) =
           (excluded.health, excluded.latency_ms, excluded.skew_ms, excluded.connections,
            excluded.max_connections, excluded.server_version, excluded.error)"""
_INSTANCE = """
    UPDATE rds_instances
       SET health = %(health)s, last_check_at = %(at)s, latency_ms = %(latency_ms)s,
           last_error = %(error)s,
           server_version = coalesce(nullif(%(version)s, ''), server_version)
     WHERE id = %(instance)s"""


def sync_instance_health(run: Run) -> None:
    """Check every instance once and remember what was seen."""
    instances = chosen(run)
    run.expect(map(as_target, instances))

    def check(_: RdsInstance, source: fleet.Connection) -> Vitals:
        return measure(source, contract.text(NAME), run.now)

    outcomes = fleet.each_instance(
        instances, check, run.record.purpose, remember=not run.dry_run, limit=LIMIT
    )
    with run.publishing() as session:
        changed = presence.changed(session, instances)
        for outcome in outcomes:
            target = str(outcome.instance.pk)
            if target in changed:
                continue
            _write(session, outcome, run.now())
            if outcome.value is not None:
                run.confirm(session, target, outcome.value.at, rows=1)
        session.execute("DELETE FROM instance_checks WHERE minute < %s", [run.now() - KEPT])
    for outcome in outcomes:
        if error := changed.get(str(outcome.instance.pk)):
            outcome = replace(outcome, value=None, error=error)
        _settle(run, outcome)


def _write(session: Session, outcome: fleet.Outcome[Vitals], at: datetime) -> None:
    seen = outcome.value
    row = {
        "instance": outcome.instance.pk,
        "at": at,
        "health": (seen.health if seen else Health.DOWN).value,
        "latency_ms": seen and seen.latency_ms,
        "skew_ms": seen and seen.skew_ms,
        "connections": seen and seen.connections,
        "max_connections": seen and seen.max_connections,
        "version": seen.version if seen else "",
        "error": "; ".join(seen.warnings) if seen else str(outcome.error),
    }
    session.execute(_CHECK, row)
    session.execute(_INSTANCE, row)


def _settle(run: Run, outcome: fleet.Outcome[Vitals]) -> None:
    key, seen = str(outcome.instance.pk), outcome.value
    if seen is None:
        run.settle(key, TargetState.FAILED, error=outcome.error, seconds=outcome.seconds)
        return
    words = [f"{seen.health}, {seen.latency_ms:.1f} ms, PostgreSQL {seen.version}", *seen.warnings]
    run.settle(key, TargetState.SUCCEEDED, note="; ".join(words), seconds=outcome.seconds)
