"""Proves of every instance that RAINBO can do its work there, and says what to grant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from common.clock import Clock
from common.errors import RainboError
from syncs.transfer import copy_stream
from syncs.transfer.copy_stream import verbatim
from tenants.fleet import connections, contract
from tenants.fleet.server_errors import translating_query_errors
from tenants.fleet.transactions import POOLED
from tenants.health import privileges
from tenants.health.findings import Finding, Level
from tenants.health.probe import describe_replica, measure
from tenants.models import RdsInstance
from tenants.models.instance import AuthMethod, SslMode

OLDEST = 14
LIMIT = 60.0  # seconds for one instance
NO_GHOSTS: dict[str, object] = {
    "ids": [],
    "emails": [],
    "names": [],
    "installation": "",
    "only": None,
    "create": False,
}


@dataclass(frozen=True)
class Checked:
    """What the checks of one instance found."""

    instance: RdsInstance
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        return any(finding.level is Level.ERROR for finding in self.findings)


def check_fleet(instances: Sequence[RdsInstance], limit: float = LIMIT) -> list[Checked]:
    """Check each, in at most `limit` seconds. Stores nothing."""
    now = Clock.read().now

    def examine(instance: RdsInstance, source: connections.Connection) -> list[Finding]:
        return _examine(instance, source, now)

    outcomes = connections.each_instance(
        instances, examine, "check_fleet", remember=False, limit=limit
    )
    return [
        Checked(
            outcome.instance,
            (
                *(outcome.value or [Finding(Level.ERROR, str(outcome.error))]),
                *configured(outcome.instance),
            ),
        )
        for outcome in outcomes
    ]


def check_master() -> list[Finding]:
    """Whether the fleet has its one master."""
    found = RdsInstance.objects.filter(is_master=True).first()
    if found is None:
        return [Finding(Level.ERROR, "no instance is the master: add_instance --update --master")]
    if not found.is_active:
        return [Finding(Level.ERROR, f"{found} is the master but is not active: activate it")]
    return [Finding(Level.OK, f"{found} is the master")]


def configured(instance: RdsInstance) -> list[Finding]:
    """What the settings of an instance say, before any connection."""
    found = []
    if instance.ssl_mode != SslMode.VERIFY_FULL:
        found.append(
            Finding(
                Level.WARNING,
                f"ssl mode {instance.ssl_mode} does not prove who the server is: use verify-full",
            )
        )
    if instance.require_auth != AuthMethod.SCRAM:
        found.append(
            Finding(
                Level.WARNING,
                f"logging in by {instance.require_auth} is weaker than scram-sha-256: store the "
                "role's password so there",
            )
        )
    return found


def _examine(
    instance: RdsInstance, source: connections.Connection, now: Callable[[], datetime]
) -> list[Finding]:
    found = [_reached(instance, source), _version(source), *_replica(instance, source)]
    result = measure(source, contract.text("sync_instance_health"), now)
    found += [Finding(Level.WARNING, text) for text in result.warnings]
    found += [Finding(Level.OK, f"clock within {abs(result.skew_ms) / 1000:.1f} s of ours")]
    found += privileges.findings(instance, source)
    found += _queries(instance, source)
    return found


def _reached(instance: RdsInstance, source: connections.Connection) -> Finding:
    line = "encrypted" if source.pgconn.ssl_in_use else "not encrypted"
    text = f"reached, {line} (ssl mode {instance.ssl_mode})"
    if not source.is_pooled:
        return Finding(Level.OK, text)
    return Finding(
        Level.WARNING,
        f"{text}, {POOLED}: RAINBO keeps each read and write in one transaction, but the pooler's "
        "own limits and queues count too; a direct address is better",
    )


def _replica(instance: RdsInstance, source: connections.Connection) -> Iterator[Finding]:
    if source.replica is None:
        return
    yield Finding(Level.OK, describe_replica(source.replica.lag))
    if not instance.writer_host:
        yield Finding(
            Level.WARNING,
            "it is a replica without a writer address, so no ghost users can be written: "
            f"add_instance --update --id {instance.pk} --writer-host HOST",
        )


def _version(source: connections.Connection) -> Finding:
    major = source.info.server_version // 10_000
    if major < OLDEST:
        return Finding(Level.ERROR, f"PostgreSQL {major} is too old: RAINBO needs {OLDEST}")
    return Finding(Level.OK, f"PostgreSQL {major}")


def _queries(instance: RdsInstance, source: connections.Connection) -> list[Finding]:
    names = ["sync_tenant_summaries", "find_user"]
    names += ["sync_user_routing"] if instance.is_master else []
    checks: dict[str, Callable[[], object]] = {
        name: lambda name=name: copy_stream.probe(source, contract.query(name))  # type: ignore[misc]
        for name in names
    }
    checks["sync_ghost_users"] = lambda: source.execute(
        verbatim(f"EXPLAIN {contract.text('sync_ghost_users')}"), NO_GHOSTS
    )
    return [_tried(name, check, instance, source) for name, check in checks.items()]


def _tried(
    name: str, check: Callable[[], object], instance: RdsInstance, source: connections.Connection
) -> Finding:
    try:
        # A savepoint, so that an error does not abort the checks that follow.
        with translating_query_errors(instance, source), source.transaction():
            check()
    except RainboError as error:
        return Finding(Level.ERROR, f"{name}: {error}")
    return Finding(Level.OK, f"{name}: every column as it should be")
