"""Proves of every instance that RAINBO can do its work there, and says what to grant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from common.clock import Clock
from common.errors import RainboError
from common.text import listed
from syncs.transfer import snapshot_check
from tenants.fleet import connections, contract
from tenants.fleet.server_errors import translating_query_errors
from tenants.fleet.transactions import POOLED
from tenants.health import (
    catalog,
    ghost_check,
    needs,
    privileges,
    query_check,
    support_check,
)
from tenants.health.findings import Finding, Level
from tenants.health.needs import Needs
from tenants.health.probe import describe_replica
from tenants.health.query_check import QueryCheck
from tenants.models import GhostUser, RdsInstance
from tenants.models.ghost import GONE
from tenants.models.instance import AuthMethod, SslMode

OLDEST = 14
LIMIT = 60.0  # seconds for one instance
READING, WRITING = 0.75, 0.25  # shares of the limit
TRYING = 0.1  # share of the limit for each statement that is tried
NAMED = 5  # tables in one message
# What writes: each is tried, and undone.
_TRIES = {ghost_check.NAME: ghost_check.run, support_check.END: support_check.run}


@dataclass(frozen=True)
class _Read:
    """What was found by reading. writes: the statements that nothing speaks against trying."""

    findings: list[Finding]
    writes: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What the checks of one instance found."""

    instance: RdsInstance
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        return any(finding.level is Level.ERROR for finding in self.findings)


def check_fleet(instances: Sequence[RdsInstance], limit: float = LIMIT) -> list[Checked]:
    """Check each, reading and then writing in at most `limit` seconds. Stores nothing."""
    now = Clock.read().now
    with_ghosts = _with_ghosts(instances)

    def names(instance: RdsInstance) -> list[str]:
        return _names(instance, has_ghosts=instance.pk in with_ghosts)

    def examine(instance: RdsInstance, source: connections.Connection) -> _Read:
        return _examine(QueryCheck(instance, source, limit * TRYING), names(instance), now)

    read = connections.each_instance(
        instances, examine, "check_fleet", remember=False, limit=limit * READING
    )
    ready = {one.instance: one.value.writes for one in read if one.value and one.value.writes}

    def write(instance: RdsInstance, source: connections.Connection) -> list[Finding]:
        return [_try(instance, source, name) for name in ready[instance]]

    written = connections.each_instance(
        [*ready], write, "check_fleet", writes=True, remember=False, limit=limit * WRITING
    )
    tried = {
        one.instance.pk: one.value
        or [query_check.failed(_label(one.instance, ready[one.instance][0]), one.error)]
        for one in written
    }
    return [_checked(one, tried.get(one.instance.pk, [])) for one in read]


def check_master() -> list[Finding]:
    """Whether the fleet has its one master."""
    found = RdsInstance.objects.filter(is_master=True).first()
    if found is None:
        return [Finding(Level.ERROR, "no instance is the master: add_instance --update --master")]
    if not found.is_active:
        return [Finding(Level.ERROR, f"{found} is the master but is not active: activate it")]
    return [Finding(Level.OK, f"{found} is the master")]


def _checked(read: connections.Outcome[_Read], tried: Sequence[Finding]) -> Checked:
    found = read.value.findings if read.value else [Finding(Level.ERROR, str(read.error))]
    return Checked(read.instance, (*found, *tried, *configured(read.instance)))


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
    found += [
        Finding(
            Level.WARNING,
            f"{file} in RAINBO_SOURCE_SQL fits no query and is not used: the names are "
            f"{', '.join(f'{name}.sql' for name in contract.NAMES)}",
        )
        for file in contract.unknown_files(instance.schema_group)
    ]
    return found


def _examine(check: QueryCheck, names: list[str], now: Callable[[], datetime]) -> _Read:
    instance, source = check.instance, check.source
    found = [_reached(instance, source), _version(source), *_replica(instance, source)]
    names, support = _with_support(instance, source, names)
    found += support
    texts: dict[str, str] = {}
    for name in names:
        try:
            texts[name] = contract.text(name, instance.schema_group)
        except RainboError as error:
            found.append(query_check.failed(_label(instance, name), error))
    if query_check.HEALTH in texts:
        found += check.health(texts[query_check.HEALTH], now)
    needed, together = _needs(check, texts)
    by_file = {_label(instance, name): one for name, one in needed.items()}
    found += privileges.findings(instance.user, source, together, by_file)
    for name in texts:
        if name in contract.COLUMNS and not needed[name].missing:
            found += check.read(name)
    if foreign := snapshot_check.unchecked(source):
        found.append(
            Finding(
                Level.OK,
                "foreign tables, whose replacement during a read can't be noticed: "
                f"{listed(foreign, NAMED)}",
            )
        )
    has_writer = source.replica is None or bool(instance.writer_host)
    ready = [name for name in _TRIES if name in needed and not needed[name].missing]
    return _Read(found, writes=tuple(ready) if has_writer else ())


def _with_support(
    instance: RdsInstance, source: connections.Connection, names: list[str]
) -> tuple[list[str], list[Finding]]:
    """Return the queries without those of support access where that is not set up."""
    group = instance.schema_group
    try:
        if support_check.READ not in names or support_check.is_set_up(source, group):
            return names, []
    except RainboError:  # the group has no folder, which each query reports
        return names, []
    return [name for name in names if name not in contract.SUPPORT], [support_check.not_set_up()]


def _with_ghosts(instances: Sequence[RdsInstance]) -> set[int]:
    """Return the instances that have ghost users, or still have some to retire."""
    left = GhostUser.objects.exclude(confirmed__in=GONE).values_list("instance_id", flat=True)
    return {instance.pk for instance in instances if instance.has_ghosts} | set(left)


def _names(instance: RdsInstance, *, has_ghosts: bool) -> list[str]:
    """Return the queries that the instance is asked."""
    unused = {
        "sync_user_routing": not instance.is_master,
        "sync_tenant_summaries": not instance.has_tenants,
        "find_user": not instance.has_tenants,
        **dict.fromkeys((ghost_check.NAME, *contract.SUPPORT), not has_ghosts),
    }
    return [name for name in contract.NAMES if not unused.get(name)]


def _label(instance: RdsInstance, name: str) -> str:
    return contract.label(name, instance.schema_group)


def _needs(check: QueryCheck, texts: dict[str, str]) -> tuple[dict[str, Needs], Needs]:
    """Return what each query needs, and all of them together."""
    together = Needs()
    by_name = {}
    with catalog.reading(check.source) as found:
        for name, text in texts.items():
            has_parameters = name in contract.WITH_PARAMETERS
            plain = needs.without_parameters(text) if has_parameters else text
            by_name[name] = needs.of_query(_label(check.instance, name), plain, found)
            together.include(by_name[name])
        needs.settle(together, found)
    return by_name, together


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


def _try(instance: RdsInstance, source: connections.Connection, name: str) -> Finding:
    label = _label(instance, name)
    try:
        with translating_query_errors(instance, source), source.transaction():
            _TRIES[name](source, instance.schema_group)
    except RainboError as error:
        return query_check.failed(label, error)
    return query_check.fits(label)
