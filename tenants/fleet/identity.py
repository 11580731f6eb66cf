"""The identity of an instance: stored at first contact, verified at each later one.

The identity is the server's `system_identifier`, made by initdb and kept by physical copies,
with the oid of the database.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from django.db import transaction
from psycopg import sql

from syncs.errors import WrongIdentity
from syncs.models import BucketDigest, Confirmation, WithheldRow
from tenants.models import RdsInstance

NOTHING = sql.SQL("")
NULL = sql.SQL("NULL")

# The timeline grows with each promotion. A new session has read no catalog yet, so that each table
# that a statement names costs it more than the rest of the statement: the database's oid is that of
# the session's own activity, and only replicas are asked for what replicas know.
_SERVER = """
    SELECT (pg_catalog.pg_control_system()).system_identifier::pg_catalog.text,
           (pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())).datid::pg_catalog.int8,
           greatest(
               (pg_catalog.pg_control_checkpoint()).timeline_id,
               (pg_catalog.pg_control_recovery()).min_recovery_end_timeline)::pg_catalog.int8,
           pg_catalog.pg_is_in_recovery(), {}"""
_PRIMARY = sql.SQL(_SERVER)
# A replica's lag is the age of the last transaction that it has replayed or, if it has replayed all
# that its primary has, that of the primary's last message. Only members of pg_read_all_stats see
# the messages.
_REPLICA = sql.SQL(f"""{_SERVER},
           EXTRACT(epoch FROM pg_catalog.clock_timestamp() - greatest(
               pg_catalog.pg_last_xact_replay_timestamp(), received.at))::pg_catalog.float8,
           received.at IS NOT NULL,
           CASE WHEN pg_catalog.pg_is_in_recovery()
                THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END
      FROM (SELECT) AS one
      LEFT JOIN (
            SELECT last_msg_receipt_time AS at FROM pg_catalog.pg_stat_wal_receiver
             WHERE status = 'streaming' AND latest_end_lsn <= pg_catalog.pg_last_wal_replay_lsn()
           ) AS received ON true""")  # noqa: S608 (a constant)


@dataclass(frozen=True)
class Identity:
    system: str
    database: int
    timeline: int = 0

    def __str__(self) -> str:
        return f"{self.system}/{self.database}"


@dataclass(frozen=True)
class Replica:
    """A server in recovery. lag: seconds that its data is behind its primary, None if unknown.

    is_exact: it has replayed all that its primary had; otherwise the lag is the most it may be.
    """

    lag: float | None
    is_exact: bool
    is_paused: bool


def read(
    source: psycopg.Connection[Any],
    first: sql.Composable = NOTHING,
    also: sql.Composable = NULL,
) -> tuple[Identity, Replica | None]:
    """Read a server's identity, and its lag if it is a replica. Raises psycopg errors as they are.

    first: statements that go before, in the same round trip. also: an expression to evaluate. Who
    said at the login that it is a primary may be another server, behind a pooler; if this one is
    a replica, `first` begins a second transaction in place of the first.
    """
    if source.info.parameter_status("in_hot_standby") == "off":
        found, is_replica, _ = _row(source, first, _PRIMARY.format(also))
        if not is_replica:
            return found, None
        first = sql.SQL("ROLLBACK; {}").format(first)
    found, is_replica, (lag, is_exact, is_paused) = _row(source, first, _REPLICA.format(also))
    replica = Replica(None if lag is None else max(lag, 0.0), is_exact, is_paused)
    return found, replica if is_replica else None


def _row(
    source: psycopg.Connection[Any], first: sql.Composable, query: sql.Composable
) -> tuple[Identity, bool, list[Any]]:
    """Return the identity, whether it is a replica's, and what is known of a replica."""
    row = source.execute(sql.SQL("{};{}").format(first, query)).set_result(-1).fetchone()
    if row is None:
        raise WrongIdentity("the server did not return its identity")
    system, database, timeline, is_replica, _, *rest = row
    return Identity(system, database, timeline), is_replica, rest


class Register:
    """The remembered identities of all registered instances, as they were when loaded.

    Threads that meet instances for the first time claim their identities in it.
    """

    def __init__(self, instances: Iterable[RdsInstance]) -> None:
        self._known = {instance.pk: instance for instance in instances}
        self._claimed = {i.pk: i.identity for i in self._known.values() if i.identity}
        self._timelines = {i.pk: i.timeline or 0 for i in self._known.values()}
        self._lock = threading.Lock()

    @classmethod
    def load(cls) -> Self:
        return cls(RdsInstance.objects.all())

    def replace(self, instance: RdsInstance) -> None:
        """Use an instance as it is in memory, before it is stored."""
        self._known[instance.pk] = instance
        self._claimed.pop(instance.pk, None)
        self._timelines[instance.pk] = instance.timeline or 0
        if instance.identity:
            self._claimed[instance.pk] = instance.identity

    def admit(self, instance: RdsInstance, found: Identity) -> None:
        """Raise WrongIdentity, with what to do, unless the instance may be this server."""
        with self._lock:
            before = self._claimed.get(instance.pk)
            if before and before != str(found):
                raise WrongIdentity(_describe_change(instance, before, found))
            if found.timeline < (timeline := self._timelines.get(instance.pk, 0)):
                raise WrongIdentity(_describe_old_timeline(instance, timeline, found))
            if twin := self._twin(instance, found):
                raise WrongIdentity(_describe_duplicate(instance, twin))
            self._claimed[instance.pk] = str(found)
            self._timelines[instance.pk] = found.timeline

    def _twin(self, instance: RdsInstance, found: Identity) -> RdsInstance | None:
        """Return another instance with this identity that is not marked as a copy."""
        name = str(found)
        for pk, identity in self._claimed.items():
            if identity == name and pk != instance.pk:
                other = self._known.get(pk)
                if other is not None and not self._related(instance, other):
                    return other
        return None

    def _related(self, one: RdsInstance, other: RdsInstance) -> bool:
        return _are_two_schemas(one, other) or self._origin(one) == self._origin(other)

    def _origin(self, instance: RdsInstance) -> int:
        """Return the instance at the start of a chain of copies."""
        seen = {instance.pk}
        at = self._known.get(instance.pk, instance)
        while at.copy_of_id is not None and at.copy_of_id not in seen:
            seen.add(at.copy_of_id)
            following = self._known.get(at.copy_of_id)
            if following is None:
                return at.copy_of_id
            at = following
        return at.pk


def _are_two_schemas(one: RdsInstance, other: RdsInstance) -> bool:
    """Whether both are one database, read by the SQL files of two schema groups."""
    places = [(each.host, each.port, each.database) for each in (one, other)]
    return places[0] == places[1] and one.schema_group != other.schema_group


def is_news(instance: RdsInstance, found: Identity) -> bool:
    """Whether it is the first contact, or the server was promoted since the last one."""
    return not instance.identity or found.timeline > (instance.timeline or 0)


def remember(instance: RdsInstance, found: Identity) -> None:
    """Store what is new about an identity. Raises WrongIdentity if another instance has it."""
    with transaction.atomic():
        locked = RdsInstance.objects.select_for_update(no_key=True).order_by("pk")
        Register(locked).admit(instance, found)
        locked.filter(pk=instance.pk, system_identifier="").update(
            system_identifier=found.system, database_oid=found.database
        )
        locked.filter(pk=instance.pk).exclude(timeline__gte=found.timeline).update(
            timeline=found.timeline
        )
    adopt(instance, found)


def adopt(instance: RdsInstance, found: Identity) -> None:
    """Set the identity on the instance, in memory only."""
    instance.system_identifier, instance.database_oid = found.system, found.database
    instance.timeline = found.timeline


def forget(instance: RdsInstance) -> None:
    """Clear the identity, in memory only; the next contact counts as the first."""
    instance.system_identifier, instance.database_oid, instance.timeline = "", None, None


def forget_proofs(pk: int) -> None:
    """Delete all that syncs proved of an instance, in the caller's transaction."""
    for kind in (Confirmation.objects, BucketDigest.objects, WithheldRow.objects):
        kind.filter(target=str(pk)).delete()


def stays_where_it_is(instance: RdsInstance) -> bool:
    """Whether the stored instance has the same host, port and database."""
    endpoint = {name: getattr(instance, name) for name in ("host", "port", "database")}
    return RdsInstance.objects.filter(pk=instance.pk, **endpoint).exists()


def _describe_change(instance: RdsInstance, before: str, found: Identity) -> str:
    return (
        f"{instance} is another server than before: {instance.host}:{instance.port} has "
        f"identity {found}, expected {before}. If it was rebuilt, run add_instance --update "
        f"--id {instance.pk} --accept-rebuilt. If not, check host, port and database"
    )


def _describe_old_timeline(instance: RdsInstance, before: int, found: Identity) -> str:
    return (
        f"{instance} is on timeline {found.timeline}, and was on {before} before: an old primary, "
        "a replica that did not follow the last promotion, or a server that was restored. If its "
        f"data is right, run add_instance --update --id {instance.pk} --accept-rebuilt"
    )


def _describe_duplicate(instance: RdsInstance, twin: RdsInstance) -> str:
    return (
        f"{instance} has the identity of {twin}. If one server is registered twice, delete one of "
        "them. If they are two schemas of one database, give them schema groups "
        "(--schema-group). If it was restored from a copy, run add_instance --update "
        f"--id {instance.pk} --copy-of {twin.pk}"
    )
