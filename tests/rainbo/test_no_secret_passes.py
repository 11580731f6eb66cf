"""No shape of a secret stays in a log line, a stored error, an activity or an error report."""

from __future__ import annotations

import logging
import sys

import pytest
from django.test import RequestFactory
from hypothesis import HealthCheck, given, settings

from activity.log import record_by
from activity.models import Activity
from common.errors import RainboError
from rainbo.exception_filter import WithoutSecrets
from rainbo.logs import Json, Text
from syncs.models import RunLog, RunState, RunTarget, SyncRun
from tests.rows import ended_run, run_part
from tests.secret_shapes import SHAPES, Shaped

some = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"


@some
@given(SHAPES)
def test_no_log_line_keeps_one(shape: Shaped) -> None:
    try:
        raise ValueError(shape.text)
    except ValueError:
        failure = sys.exc_info()
    extra = {"found": {shape.text: [shape.text]}, "error": ValueError(shape.text)}
    made = logging.getLogger("syncs").makeRecord(
        "syncs", logging.ERROR, "f.py", 1, "tried %s", (shape.text,), failure, extra=extra
    )
    unfit = logging.getLogger("syncs").makeRecord(
        "syncs", logging.ERROR, "f.py", 1, "tried %d", (shape.text,), None
    )
    for formatter in (Text(FIELDS), Json(FIELDS)):
        assert not shape.is_in(formatter.format(made))
        assert not shape.is_in(formatter.format(unfit))


@pytest.mark.django_db
@some
@given(SHAPES)
def test_no_stored_error_keeps_one(shape: Shaped) -> None:
    run = ended_run(error=shape.text)
    run_part(run, error=shape.text, note=shape.text)
    RunLog.objects.bulk_create([RunLog(run=run, message=shape.text)])
    stored = [
        *SyncRun.objects.filter(pk=run.pk).values_list("error", flat=True),
        *RunTarget.objects.filter(run=run).values_list("error", flat=True),
        *RunTarget.objects.filter(run=run).values_list("note", flat=True),
        *RunLog.objects.filter(run=run).values_list("message", flat=True),
    ]
    run.move(RunState.LOST, expect=(RunState.SUCCEEDED,), error=shape.text)
    stored += [run.error, str(RainboError(shape.text))]
    assert len(stored) == 6
    assert not any(map(shape.is_in, stored))


@pytest.mark.django_db
@some
@given(SHAPES)
def test_no_activity_keeps_one(shape: Shaped) -> None:
    given = {"note": shape.text, "in": [{shape.text: shape.text}]}
    entry = record_by(shape.text, 1, None, "instance.changed", shape.text, after=given)
    kept = Activity.objects.values_list("actor", "subject", "after").get(pk=entry.pk)
    assert not shape.is_in(repr(kept))


@settings(some, max_examples=3)
@given(SHAPES)
def test_no_error_report_keeps_one(shape: Shaped) -> None:
    asked = RequestFactory().post("/x/?access_token=QAZ1QAZ2", {"note": shape.text})
    try:
        try:
            raise ValueError(shape.text)
        except ValueError as error:
            raise KeyError(shape.text) from error
    except KeyError:
        kind, raised, trace = sys.exc_info()
        reporter = WithoutSecrets(asked, kind, raised, trace, is_email=True)
    for report in (reporter.get_traceback_text(), reporter.get_traceback_html()):
        assert not shape.is_in(report)
        assert "QAZ1QAZ2" not in report
