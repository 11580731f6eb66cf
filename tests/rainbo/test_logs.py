from __future__ import annotations

import json
import logging
import sys

import pytest

from rainbo.logs import Json, Text

SECRET = "hunter2-Zz"
FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("syncs").makeRecord(
        "syncs", logging.ERROR, "f.py", 1, message, args, None, extra=extra
    )


def failed_record() -> logging.LogRecord:
    made = record("cannot connect")
    try:
        raise ValueError(f"postgres://rainbo:{SECRET}@db1/x")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


@pytest.mark.parametrize("formatter", [Text(FIELDS), Json(FIELDS)])
def test_secrets_leave_messages_arguments_and_exceptions(formatter: logging.Formatter) -> None:
    by_argument = formatter.format(record("tried %s", f"password={SECRET}", password=SECRET))
    by_exception = formatter.format(failed_record())
    assert SECRET not in by_argument + by_exception
    assert "***" in by_argument
    assert "ValueError: postgres://rainbo:***@db1/x" in by_exception


def test_the_record_itself_stays_for_other_handlers() -> None:
    original = failed_record()
    Text(FIELDS).format(original)
    assert original.exc_info is not None
    assert original.exc_text is None


def test_json_carries_the_ids() -> None:
    line = json.loads(Json(FIELDS).format(record("published %s rows", 5, run=7, instance=2)))
    assert line["message"] == "published 5 rows"
    assert (line["run"], line["instance"], line["levelname"]) == (7, 2, "ERROR")


def test_a_line_of_the_log_steers_no_terminal_and_looks_like_one() -> None:
    text = Text(FIELDS).format(record("away: %s", "\x1b[2J\u202e\n2026-11-24 INFO all is well"))
    assert "\\u001b[2J\\u202e\\u000a2026-11-24" in text
    assert text.isprintable()


def test_times_are_utc() -> None:
    made = record("x")
    made.created = 0.5
    assert Text(FIELDS).format(made).startswith("1970-01-01T00:00:00.500+00:00 ERROR syncs x")


def test_a_refused_request_leaves_no_traceback() -> None:
    made = failed_record()
    made.name = "django.security.DisallowedModelAdminLookup"
    assert "Traceback" not in Text(FIELDS).format(made)
