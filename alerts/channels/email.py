"""E-mail, through the server that RAINBO_EMAIL_HOST names."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from alerts import messages
from alerts.channels.mail_server import SECONDS, TooSlow
from alerts.channels.result import Result
from alerts.models import Channel, Content
from common.redaction import redact
from common.text import counted, listed, truncate

TOO_LARGE = 552


def send(channel: Channel, pk: str, content: Content, _: datetime) -> Result:
    """One message to all recipients of a channel."""
    return send_mail(pk, channel.recipients, content["title"], f"{messages.as_text(content)}\n")


def send_mail(pk: str, recipients: Sequence[str], subject: str, body: str) -> Result:
    """Send a mail; the same id each time, so that a repetition is recognised."""
    if not settings.EMAIL_HOST:
        return Result(False, "no mail server is configured: set RAINBO_EMAIL_HOST")
    sender: str = settings.DEFAULT_FROM_EMAIL
    message = EmailMessage(
        subject=" ".join(subject.split()),
        body=body,
        from_email=sender,
        to=recipients,
        headers={
            "Message-ID": f"<{pk}@{sender.rpartition('@')[2].rstrip('>') or 'rainbo'}>",
            "Auto-Submitted": "auto-generated",
        },
    )
    server = get_connection()
    message.connection = server
    try:
        message.send()
    except (smtplib.SMTPException, OSError) as error:
        words = truncate(redact(_explain(error)))
        return Result(False, words, is_refused=_is_about_the_message(error))
    refused = getattr(server, "refused", {})
    taken = f"accepted for {counted(len(recipients) - len(refused), 'recipient')}"
    if not refused:
        return Result(True, taken)
    rejected = listed([f"{to} ({code})" for to, (code, _) in sorted(refused.items())])
    return Result(True, f"{taken}, rejected for {rejected}", warning=f"rejected for {rejected}")


def _is_about_the_message(error: Exception) -> bool:
    """Whether the server rejected permanently what it was sent: its content or its size."""
    if not isinstance(error, smtplib.SMTPResponseException):
        return False
    is_content = isinstance(error, smtplib.SMTPDataError)
    return error.smtp_code == TOO_LARGE or (is_content and 500 <= error.smtp_code < 600)


def _explain(error: Exception) -> str:
    place = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    if isinstance(error, TooSlow):
        return f"{place} did not take the message within {SECONDS:g} s"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"{place} rejected the user or the password"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({str(code) for code, _ in error.recipients.values()})
        return f"{place} rejected every recipient ({', '.join(codes)})"
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        return f"{place} answered {error.smtp_code}: {said}"
    return f"{place} can't be used: {type(error).__name__}"
