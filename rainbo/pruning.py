"""What goes of the tables of Django and of other packages, and why the other tables stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.sessions.models import Session
from django_q.models import Task

from syncs.engine.pruning import OF_RUNS, Rule, in_batches, older, register


def _failed_sign_ins(now: datetime, _: datetime) -> Iterator[int]:
    forgotten = now - timedelta(minutes=settings.RAINBO_LOGIN_LOCK_MINUTES)
    return in_batches(AccessAttempt.objects.filter(attempt_time__lt=forgotten))


register(
    Rule("ended sessions", ("sessions.Session",), "", "its end", older(Session, "expire_date")),
    Rule(
        "failed sign-ins",
        ("axes.AccessAttempt", "axes.AccessAttemptExpiration"),
        "",
        "`RAINBO_LOGIN_LOCK_MINUTES` after the last attempt",
        _failed_sign_ins,
    ),
    Rule(
        "tasks that failed",
        ("django_q.Task", "django_q.Success", "django_q.Failure"),
        OF_RUNS,
        "its end; others are not stored",
        older(Task, "stopped"),
    ),
)
