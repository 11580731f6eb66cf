"""Reads one query from many instances at once into a staging table."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from syncs import joint_proof, transfer
from syncs.digest import Hashing
from syncs.errors import ROWS_REFUSED, RainboError, refusal
from syncs.models import TargetState
from syncs.run import Run
from syncs.staging import Stage
from tenants import fleet
from tenants.models import RdsInstance

SPOOL = 4 * 1024 * 1024  # bytes of one instance's answer kept in memory


@dataclass(frozen=True)
class Reading:
    """One instance's rows, staged and proved. `at`: just before their snapshot opened."""

    at: datetime
    rows: int
    encoding: str
    seconds: float = 0.0

    @property
    def hashing(self) -> Hashing:
        return Hashing.of(self.encoding)


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(SPOOL)


def read_instances(run: Run, stage: Stage, instances: Sequence[RdsInstance]) -> dict[str, Reading]:
    """Stage every instance's rows; what fails is settled as failed and left out.

    A single instance is piped straight into the stage. Several are read in parallel and
    staged one after the other as they end.
    """
    readings: dict[str, Reading] = {}
    spools: dict[str, IO[bytes]] = {}

    def read(instance: RdsInstance, source: transfer.Connection) -> Reading:
        transfer.probe(source, stage.query)
        at, encoding = run.now(), transfer.server_encoding(source)
        with fleet.snapshot(source):
            if len(instances) == 1:
                with stage.receiving(str(instance.pk), encoding) as write:
                    rows = transfer.copy_out(source, stage.query, write)
            else:
                spool = spools[str(instance.pk)] = _spool()
                rows = transfer.copy_out(source, stage.query, spool.write)
        return Reading(at, rows, encoding)

    def staged(outcome: fleet.Outcome[Reading]) -> None:
        run.safe_point()
        key = str(outcome.instance.pk)
        spool = spools.pop(key, None)
        if outcome.value is None:
            if spool is not None:
                spool.close()
            run.settle(key, TargetState.FAILED, error=outcome.error, seconds=outcome.seconds)
            return
        try:
            if spool is not None:
                with spool:
                    spool.seek(0)
                    stage.load(key, spool, outcome.value.encoding)
        except (RainboError, *ROWS_REFUSED) as error:
            stage.drop_target(key)
            run.settle(key, TargetState.FAILED, error=refusal(error), seconds=outcome.seconds)
            return
        readings[key] = Reading(
            outcome.value.at, outcome.value.rows, outcome.value.encoding, outcome.seconds
        )

    fleet.each_instance(
        instances, read, run.record.purpose, on_done=staged, remember=not run.dry_run
    )
    stage.session.execute(f"ANALYZE {stage.name}")
    return _proved(run, stage, readings)


def _proved(run: Run, stage: Stage, readings: dict[str, Reading]) -> dict[str, Reading]:
    """The readings of which all arrived as it was sent; the others are settled as failed."""
    sent = {key: (reading.rows, reading.hashing) for key, reading in readings.items()}
    wrong = joint_proof.prove_staged(stage, sent)
    for key, error in wrong.items():
        stage.drop_target(key)
        reading = readings[key]
        run.settle(key, TargetState.FAILED, error=error, seconds=reading.seconds)
    return {key: reading for key, reading in readings.items() if key not in wrong}
