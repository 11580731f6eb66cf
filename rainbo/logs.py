"""Log formatters: text for people, JSON for collectors; neither lets a secret through."""

from __future__ import annotations

import copy
import logging
import sys
from datetime import UTC, datetime

from django.utils.log import AdminEmailHandler
from pythonjsonlogger.json import JsonFormatter

from common.read_only import READ_ONLY, is_read_only
from common.redaction import redact, redact_value
from common.terminal import printable, printable_line

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_PLAIN = logging.Formatter()


def redacted(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of the record without secrets; other handlers keep the original."""
    clean = copy.copy(record)
    clean.msg, clean.args = redact(_message(record)), ()
    if record.name.startswith("django.security"):  # rejected requests: no fault of the code
        clean.exc_info = clean.exc_text = None
    elif record.exc_info and is_read_only(record.exc_info[1]):
        clean.msg = f"{clean.msg}: {READ_ONLY}"  # a state of the database: no fault of the code
        clean.exc_info = clean.exc_text = None
    elif record.exc_info:
        clean.exc_text, clean.exc_info = _PLAIN.formatException(record.exc_info), None
    clean.exc_text = redact(clean.exc_text) if clean.exc_text else None
    clean.stack_info = redact(record.stack_info) if record.stack_info else None
    for name in clean.__dict__.keys() - _STANDARD:
        clean.__dict__[redact(name)] = redact_value(name, clean.__dict__.pop(name))
    return clean


def _message(record: logging.LogRecord) -> str:
    """The message; logging itself would print one that its arguments don't fit, unmasked."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args!r}"


class Text(logging.Formatter):
    """A record that neither steers a terminal nor looks like two."""

    def format(self, record: logging.LogRecord) -> str:
        clean = redacted(record)
        clean.msg = printable_line(clean.msg)
        clean.exc_text = clean.exc_text and printable(clean.exc_text)
        return super().format(clean)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return _utc(record)


class Json(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(redacted(record))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return _utc(record)


class AdminEmails(AdminEmailHandler):
    """Django's error mails to ADMINS, where an installation has set them."""

    def emit(self, record: logging.LogRecord) -> None:
        clean = redacted(record)
        clean.exc_info, clean.exc_text = record.exc_info, None  # the report masks them itself
        super().emit(clean)


def _utc(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def usual_style() -> str:
    """Text for a person at a terminal, JSON for everything else."""
    return "text" if sys.stderr.isatty() else "json"


def config(style: str, level: str) -> dict[str, object]:
    """Django's LOGGING: everything to stderr, since stdout belongs to the commands' results."""
    fields = "%(asctime)s %(levelname)s %(name)s %(message)s"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": "rainbo.logs.Text", "fmt": fields},
            "json": {
                "()": "rainbo.logs.Json",
                "fmt": fields,
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            },
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": style},
            "mail_admins": {"class": "rainbo.logs.AdminEmails", "level": "ERROR"},
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": ["mail_admins"], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            "axes": {"level": "WARNING"},  # says at length what the activity records
            "urllib3": {"level": "ERROR"},  # its other lines quote addresses that are secrets
            "django_q": {"handlers": [], "level": level, "propagate": True},
        },
    }
