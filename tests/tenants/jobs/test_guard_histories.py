"""Random histories of a real directory, published as the model of the guard says."""

from __future__ import annotations

import pytest

from syncs.models import RunState
from tests.caches import part, query, run_sync
from tests.instances import Instance
from tests.syncs.engine.guard_model import Model, Rows, steps

SYNC = "user_routing"


def write(master: Instance, source: Rows) -> None:
    """Let the master's directory have these rows."""
    with master.connect(autocommit=False) as session:
        session.execute("TRUNCATE user_email_routing")
        session.cursor().executemany(
            "INSERT INTO user_email_routing "
            "(id, email, tenant_id, user_id, rds_instance_id, status) "
            "VALUES (%s, %s, 1, 1, %s, %s)",
            [(key, f"u{key}@example.com", *row) for key, row in source.items()],
        )


def published() -> Rows:
    rows = query("SELECT source_id::int, remote_instance_id::int, status FROM user_routes")
    return {key: (instance, status) for key, instance, status in rows}


SEEDS = [1, 2, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 20))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_directory_is_published_as_the_model_says(master: Instance, seed: int) -> None:
    model, before, held = Model(), 0.0, 0
    for step in steps(seed, count=12, rows=150, moves_house=False):
        passed = "UPDATE syncs_syncrun SET finished_at = finished_at - %s * interval '1 minute'"
        query(passed, int((step.now - before) * 60))
        before = step.now
        write(master, step.source)
        run = run_sync(SYNC)
        holds = model.holds(step.source, step.now)
        assert (run.state == RunState.HELD) is holds, part(run).note
        held += holds
        if holds and step.accepts:
            run = run_sync(SYNC, accept_held=run.pk, reason="looked at")
        if run.state == RunState.SUCCEEDED:
            model.publish(step.source, step.now, fresh=holds)
        assert published() == model.rows
    assert held, "the history shows too little"
