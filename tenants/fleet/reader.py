"""Reads one query from many instances at once into a staging table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from typing import IO

from django.conf import settings

from common.errors import RainboError
from syncs.engine import baseline
from syncs.engine.run import Run
from syncs.errors import ROWS_REJECTED, rows_error
from syncs.models import Confirmation, TargetState
from syncs.transfer import copy_stream, digest, joint_proof
from syncs.transfer.copy_stream import Probed, Query
from syncs.transfer.digest import Hashing
from syncs.transfer.peer import ReadLimit
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage
from tenants.fleet import connections, contract, resolution
from tenants.models import RdsInstance

SPOOL = 4 * 1024 * 1024  # bytes of one instance's answer kept in memory


@dataclass(frozen=True)
class Taken:
    """What a source sent. rows: how many it has. staged: how many of them came."""

    rows: int
    staged: int


@dataclass(frozen=True)
class Reading:
    """One instance's rows, staged. `at`: just before their snapshot opened.

    tables: what the query's names meant there.
    """

    at: datetime
    taken: Taken
    encoding: str
    hashing: Hashing
    tables: resolution.Tables
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        return self.taken.rows


# Takes the source, how its rows are hashed, and what the query reads there.
Take = Callable[[copy_stream.Connection, Hashing, Probed], Taken]


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(SPOOL)


def read_instances(
    run: Run, stage: Stage, instances: Sequence[RdsInstance], take: Take | None = None
) -> dict[str, Reading]:
    """Stage every instance's rows; failures are recorded and skipped.

    A single instance is piped straight into the stage. Several are read in parallel and
    staged one after the other as they end. take: reads the single one in another way.
    """
    readings: dict[str, Reading] = {}
    spools: dict[str, IO[bytes]] = {}
    hashings = _Hashings(run.session)
    published = baseline.confirmed(run.record.sync)
    had = dict(Confirmation.objects.filter(sync=run.record.sync).values_list("target", "rows"))
    query_of = cache(partial(contract.query, stage.query.name))  # once for each schema group
    limit = ReadLimit.of_settings(min(len(instances), settings.RAINBO_FLEET_THREADS) or 1)

    def read(instance: RdsInstance, source: connections.Connection) -> Reading:
        query = query_of(instance.schema_group)
        source.budget.limit = limit.after(had.get(str(instance.pk)))
        probed = copy_stream.probe(source, query)
        kinds = probed.kinds
        at = run.at(connections.known_as_of(instance, source))
        latest = run.at(source.as_of_latest)
        connections.refuse_older(instance, source, latest, published.get(str(instance.pk)))
        encoding = copy_stream.server_encoding(source)
        hashing = hashings.of(instance, source)
        if take is not None:
            taken = take(source, hashing, probed)
        elif len(instances) == 1:
            taken = take_all(stage, query, str(instance.pk), source, hashing, kinds)
        else:
            spool = spools[str(instance.pk)] = _spool()
            asked = copy_stream.all_rows(query, hashing, kinds)
            rows = copy_stream.copy_out(source, asked, spool.write)
            taken = Taken(rows, rows)
        tables = resolution.Tables.of(query.sql, probed.tables)
        return Reading(at, taken, encoding, hashing, tables)

    def staged(outcome: connections.Outcome[Reading]) -> None:
        run.cancellation_point()
        key = str(outcome.instance.pk)
        spool = spools.pop(key, None)
        if outcome.value is None:
            if spool is not None:
                spool.close()
            else:
                stage.drop_target(key)  # what came before it failed
            run.record_outcome(
                key, TargetState.FAILED, error=outcome.error, seconds=outcome.seconds
            )
            return
        try:
            if spool is not None:
                with spool:
                    spool.seek(0)
                    stage.load(key, spool, outcome.value.encoding)
        except (RainboError, *ROWS_REJECTED) as error:
            stage.drop_target(key)
            run.record_outcome(
                key, TargetState.FAILED, error=rows_error(error), seconds=outcome.seconds
            )
            return
        readings[key] = replace(outcome.value, seconds=outcome.seconds)

    connections.each_instance(
        instances,
        read,
        run.record.purpose,
        on_done=staged,
        remember=not run.dry_run,
        log=run.log,
    )
    if take is not None:
        return readings
    stage.session.execute(f"ANALYZE {stage.name}")
    return _proved(run, stage, readings)


class _Hashings:
    """How servers hash rows; each server is asked once, as its databases hash alike."""

    def __init__(self, session: Session) -> None:
        self._signature = digest.compute_signature(session)
        self._known: dict[tuple[str, str], Hashing] = {}

    def of(self, instance: RdsInstance, source: copy_stream.Connection) -> Hashing:
        encoding = copy_stream.server_encoding(source)
        server = (instance.system_identifier, encoding)
        if not instance.identity or server not in self._known:
            self._known[server] = digest.choose_hashing(encoding, source, self._signature)
        return self._known[server]


def _proved(run: Run, stage: Stage, readings: dict[str, Reading]) -> dict[str, Reading]:
    """Return the readings that arrived as they were sent; the others are recorded as failed."""
    sent = {key: (reading.rows, reading.hashing) for key, reading in readings.items()}
    wrong = joint_proof.prove_staged(stage, sent)
    for key, error in wrong.items():
        stage.drop_target(key)
        reading = readings[key]
        run.record_outcome(key, TargetState.FAILED, error=error, seconds=reading.seconds)
    return {key: reading for key, reading in readings.items() if key not in wrong}


def take_all(
    stage: Stage,
    query: Query,
    target: str,
    source: copy_stream.Connection,
    hashing: Hashing,
    kinds: dict[str, str],
) -> Taken:
    """Pipe all rows of a source straight into the stage."""
    with stage.receiving(target, copy_stream.server_encoding(source)) as write:
        asked = copy_stream.all_rows(query, hashing, kinds)
        rows = copy_stream.copy_out(source, asked, write)
    return Taken(rows, rows)
