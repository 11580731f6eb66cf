"""Connections to instances: the only place that opens them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from psycopg.rows import tuple_row

from common import libpq
from syncs.errors import LoginRejected, SourceError, TlsFailed, WrongIdentity
from tenants.fleet import identity, password_command, sign_in
from tenants.fleet.connection_budget import BUDGET
from tenants.fleet.grants import quoted
from tenants.fleet.identity import Identity, Replica
from tenants.fleet.parallel import ConnectionWatchdog, Outcome, visit_all
from tenants.fleet.scram_store import Place
from tenants.fleet.server_errors import translating_connection_errors, translating_query_errors
from tenants.fleet.transactions import Connection, read_settled, transaction
from tenants.fleet.validation import UNENCRYPTED
from tenants.models import RdsInstance
from tenants.models.instance import SslMode

__all__ = ["Connection", "Outcome", "connect", "each_instance", "reach"]

CLOCKS = timedelta(seconds=1)  # that clocks may be set by between two reads

T = TypeVar("T")


class NotWritable(SourceError):
    """Ghost users must be written, and the server is a replica."""

    kind = "replica"

    def __init__(self, instance: RdsInstance) -> None:
        self.transient = bool(instance.writer_host)  # a failover ends
        super().__init__(
            "the writer {}:{} of {} is a replica now: is a failover in progress?".format(
                *instance.writer, instance
            )
            if instance.writer_host
            else f"{instance} is a replica, so no ghost user can be written: name its primary "
            f"(add_instance --update --id {instance.pk} --writer-host HOST)"
        )


class UnknownLag(SourceError):
    """A replica can't say how old its data is, so nothing that it returns can be confirmed.

    One that has just started may say so a moment later.
    """

    kind = "replica"
    transient = True

    def __init__(self, instance: RdsInstance) -> None:
        super().__init__(
            f"{instance} is a replica that can't say how old its data is: "
            f"GRANT pg_read_all_stats TO {quoted(instance.user)};, or register its primary"
        )


class OlderThanPublished(SourceError):
    """A replica has replayed less than what readers already see; it may catch up."""

    kind = "replica"
    transient = True

    def __init__(
        self, instance: RdsInstance, replica: Replica, seen: datetime, published: datetime
    ) -> None:
        unsure = (
            ""
            if replica.is_exact
            else f", or GRANT pg_read_all_stats TO {quoted(instance.user)}; "
            "without it a replica of an idle primary looks as if it were behind"
        )
        super().__init__(
            f"{instance} is a replica that is behind what was published before: it has the data of "
            f"{_utc(seen)}, and readers see that of {_utc(published)}, so nothing was published. "
            f"If it stays behind, check its replication{unsure}"
        )


@contextmanager
def connect(instance: RdsInstance, purpose: str, *, writes: bool = False) -> Iterator[Connection]:
    """Open a connection inside a transaction, and verify the server's identity.

    An identity met for the first time is accepted and not stored. psycopg's errors are translated
    into ours.
    """
    with (
        _entered(instance, purpose, writes=writes) as source,
        transaction(source, writes=writes) as found,
    ):
        identity.Register.load().admit(instance, found)
        identity.adopt(instance, found)
        yield source


@contextmanager
def reach(
    instance: RdsInstance, purpose: str, *, writes: bool = False
) -> Iterator[tuple[Connection, Identity]]:
    """Open a connection inside a transaction without verifying the server's identity."""
    with (
        _entered(instance, purpose, writes=writes) as source,
        transaction(source, writes=writes) as found,
    ):
        yield source, found


@contextmanager
def _entered(instance: RdsInstance, purpose: str, *, writes: bool = False) -> Iterator[Connection]:
    """Open a connection whose session still has the server's settings."""
    host, port = instance.writer if writes else (instance.host, instance.port)
    if instance.sends_password_in_clear:
        raise TlsFailed(f"{instance} was not contacted: {UNENCRYPTED}")
    password = password_command.password_of(instance, host, port)
    with BUDGET.connection_to(instance), _ca_file(instance) as ca:
        with (
            _forgetting_rejected(host),
            translating_connection_errors(instance, password, (host, port)),
        ):
            source = sign_in.connect(
                instance,
                Place(host, port, instance.user),
                password,
                _parameters(instance, ca)
                | _KEEPALIVES
                | {
                    "host": host,
                    "port": port,
                    "connect_timeout": settings.RAINBO_CONNECT_TIMEOUT,
                    "application_name": f"rainbo/{purpose}",
                    "autocommit": True,
                    "row_factory": tuple_row,
                    "prepare_threshold": None,  # a pooler may not keep them
                },
            )
        with closing(source), translating_query_errors(instance, source):
            if writes and source.is_standby:
                raise NotWritable(instance)
            yield source


def each_instance(
    instances: Sequence[RdsInstance],
    act: Callable[[RdsInstance, Connection], T],
    purpose: str,
    on_done: Callable[[Outcome[T]], object] | None = None,
    *,
    writes: bool = False,
    remember: bool = True,
    limit: float | None = None,
    log: Callable[[str], object] | None = None,
) -> list[Outcome[T]]:
    """Call `act` for every instance, several at once, and return how each ended.

    `act` runs in threads, inside a transaction on a server that proved its identity. Reading, it
    probes each query before it reads by it, and may be called again: see `read_settled`. Writing,
    its transaction is committed when it returns.
    on_done is called in the caller's thread as each ends. remember: store identities that are
    met for the first time. limit: seconds per instance; default: RAINBO_INSTANCE_LIMIT.
    log: takes a line about instances that were signed in to without SCRAM keys.
    """
    register = identity.Register.load()
    met: dict[int, identity.Identity] = {}
    passwords = sign_in.Passwords()

    def admit(instance: RdsInstance, found: Identity) -> None:
        register.admit(instance, found)
        if identity.is_news(instance, found):
            met[instance.pk] = found
        identity.adopt(instance, found)

    def work(instance: RdsInstance, watch: ConnectionWatchdog) -> T:
        def admitted(found: Identity) -> T:
            admit(instance, found)
            return act(instance, source)

        with _entered(instance, purpose, writes=writes) as source, watch.over(source):
            passwords.note(instance, source)
            if not writes:
                return read_settled(source, admitted, limit=limit)
            with transaction(source, writes=True, limit=limit) as found:
                return admitted(found)

    def ended(outcome: Outcome[T]) -> Outcome[T]:
        found = met.get(outcome.instance.pk)
        if remember and found is not None:
            outcome = _remembered(outcome, found)
        if on_done is not None:
            on_done(outcome)
        return outcome

    outcomes = visit_all(
        instances,
        work,
        ended,
        threads=settings.RAINBO_FLEET_THREADS,
        limit=limit or settings.RAINBO_INSTANCE_LIMIT,
    )
    passwords.report(log)
    return outcomes


def known_as_of(instance: RdsInstance, source: Connection) -> float:
    """The moment of what the source's transaction sees, by the monotonic clock.

    Raises SourceError for a replica that can't say how old its data is.
    """
    if source.replica is not None and source.replica.lag is None:
        raise UnknownLag(instance)
    return source.as_of


def refuse_older(
    instance: RdsInstance, source: Connection, as_of: datetime, published: datetime | None
) -> None:
    """Raise OlderThanPublished if a replica's data is older than what was published of it.

    as_of: of the source's transaction at the latest. published: when its confirmed data was read,
    None if there is none. Another replica may answer at a reader's address each time.
    """
    if source.replica is not None and published is not None and as_of < published - CLOCKS:
        raise OlderThanPublished(instance, source.replica, as_of, published)


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _remembered(outcome: Outcome[T], found: identity.Identity) -> Outcome[T]:
    try:
        identity.remember(outcome.instance, found)
    except WrongIdentity as error:
        return Outcome(outcome.instance, None, error, outcome.seconds)
    return outcome


_KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


@contextmanager
def _forgetting_rejected(host: str) -> Iterator[None]:
    try:
        yield
    except LoginRejected:
        password_command.forget(host)
        raise


def _parameters(instance: RdsInstance, ca: str) -> dict[str, Any]:
    """Return libpq's keywords but the password's, including all that the environment could set."""
    return libpq.KEYWORDS | {
        "dbname": instance.database,
        "user": instance.user,
        "require_auth": instance.require_auth,
        "sslmode": instance.ssl_mode,
        "sslrootcert": ca,
        "options": "",
    }


@contextmanager
def _ca_file(instance: RdsInstance) -> Iterator[str]:
    """Write the instance's CA certificates to a private file; libpq takes no other form."""
    if not instance.ssl_ca:
        if instance.ssl_mode == SslMode.VERIFY_CA:
            raise TlsFailed(f"{instance} has ssl mode verify-ca and no CA: set one (--ssl-ca)")
        yield libpq.root_certificates(instance.ssl_mode)
        return
    with tempfile.NamedTemporaryFile("w", prefix="rainbo-ca-", suffix=".pem") as file:
        file.write(instance.ssl_ca)
        file.flush()
        yield file.name
