"""A malformed row written straight into the table of schedules."""

from __future__ import annotations

import psycopg
import pytest

from tests.syncs.faults.stage import Stage
from tests.syncs.faults.test_kills import IN_TIME, complete, settle, works

BAD = """
    INSERT INTO django_q_schedule (name, func, args, schedule_type, cron, repeats, next_run)
    VALUES ('bad', 'syncs.tasks.run_slot', '(probe_b', 'C', '0 0 * * *', -1, now())"""
LIVE = "SELECT 1 FROM django_q_schedule WHERE args = '(probe_b' AND repeats <> 0"
CHECKS = """
    SELECT conname FROM pg_constraint
     WHERE conrelid = 'django_q_schedule'::regclass AND contype = 'c'
       AND conname LIKE 'only%'"""


def test_a_malformed_row_is_refused(stage: Stage) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        stage.query(BAD)


def test_one_that_got_in_is_repaired_while_the_others_run(stage: Stage) -> None:
    works(stage)
    for (name,) in stage.query(CHECKS):
        stage.query(f"ALTER TABLE django_q_schedule DROP CONSTRAINT {name}")
    stage.query(BAD)
    told = stage.run("setup_schedules", "--check")
    assert told.returncode == 1, told.stdout + told.stderr
    assert "names no sync" in told.stdout
    done = stage.run("setup_schedules")
    assert "names no sync ((probe_b): switched off" in done.stdout
    assert stage.query(LIVE) == []
    complete(stage, IN_TIME)
    settle(stage)
