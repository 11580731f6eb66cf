"""Stores the mails that other apps ask for, and sends each: at least once, with the same id.

They go through the mail server that channels use, and belong to no channel: what a tenant's contact
is to know is neither muted nor grouped.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from alerts.channels import email, registry
from alerts.channels.result import Result
from alerts.models import UNSENT, RequestedMail
from alerts.outbox import CLAIM
from common import clock
from syncs.hooks import MessageRequest

logger = logging.getLogger("rainbo.alerts")

BUDGET = 20.0  # seconds that sending may take, before others get their turn


def store(request: MessageRequest) -> None:
    """Receiver of `hooks.message_requested`. One that is stored already stays as it is."""
    now = clock.database_now()
    row = RequestedMail(
        key=request.key,
        recipient=request.recipient,
        subject=request.subject,
        body=request.body,
        created_at=now,
        not_before=now,
    )
    RequestedMail.objects.bulk_create([row], ignore_conflicts=True)


def flush() -> int:
    """Send those that are due, until all are sent or the time is used up; return how many."""
    sent = 0
    until = time.monotonic() + BUDGET
    while time.monotonic() < until and (mail := claim(clock.database_now())) is not None:
        result = email.send_mail(str(mail.pk), [mail.recipient], mail.subject, mail.body)
        settle(mail, result, clock.database_now())
        sent += result.accepted
    return sent


def claim(now: datetime) -> RequestedMail | None:
    """Take the next one that is due, for as long as sending it may take."""
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    due = RequestedMail.objects.filter(UNSENT, free, not_before__lte=now)
    with transaction.atomic():
        mail = due.order_by("not_before", "pk").select_for_update(skip_locked=True).first()
        if mail is not None:
            mail.attempts += 1
            mail.claimed_until = now + CLAIM
            mail.save(update_fields=["attempts", "claimed_until"])
    return mail


def settle(mail: RequestedMail, result: Result, now: datetime) -> None:
    """Store the result of an attempt. Another's claim, made after ours ran out, is left alone."""
    ours = RequestedMail.objects.filter(pk=mail.pk, claimed_until=mail.claimed_until)
    if result.accepted:
        ours.update(sent_at=now, claimed_until=None, error="")
        return
    retry_at = now + registry.wait(mail.attempts, result)
    is_over = registry.is_over(mail.attempts, result, retry_at - mail.created_at)
    given_up = now if is_over else None
    failed = {"claimed_until": None, "error": result.detail, "given_up_at": given_up}
    ours.update(not_before=retry_at, **failed)
    logger.warning(
        "mail %s about %s: attempt %s: %s", mail.pk, mail.key, mail.attempts, result.detail
    )
