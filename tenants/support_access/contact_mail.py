"""The mail to a tenant's contact when somebody entered it: off, unless its instance has it on."""

from __future__ import annotations

from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from common.text import clip
from syncs import hooks
from tenants.fleet.contact_mail_text import SUBJECT, TEXT, filled
from tenants.models import RdsInstance, SupportSession, Tenant

OFF, ASKED = "off", "asked for"
LONGEST_SUBJECT = 150
NO_ADDRESS = "not sent: no valid address of the tenant's contact is known"


def ask_for(row: SupportSession) -> str:
    """Ask for the mail about a session that was redeemed; return whether, as text.

    Inside the transaction that stores the redemption. Empty: it could not be stored, so ask again.
    """
    instance = RdsInstance.objects.filter(pk=row.instance_id).first()
    if instance is None or not instance.support_mail:
        return OFF
    tenant = Tenant.objects.filter(instance=row.instance_id, remote_id=row.tenant_id).first()
    recipient = "" if tenant is None else (tenant.contact_email or "").strip()
    try:
        validate_email(recipient)
    except ValidationError:
        return NO_ADDRESS
    values = _values(row)
    request = hooks.MessageRequest(
        key=f"support/{row.jti}",
        recipient=recipient,
        subject=clip(filled(SUBJECT, values), LONGEST_SUBJECT),
        body=filled(instance.support_mail_text.strip() or TEXT, values),
    )
    return ASKED if hooks.message_requested.send(request) else ""


def _values(row: SupportSession) -> dict[str, str]:
    return {
        "tenant": row.tenant_name or row.tenant_id,
        "person": row.person,
        "reason": row.reason,
        "ticket": row.ticket or "none",
        "from": _time(row.redeemed_at),
        "until": _time(row.ends_at),
        "access": "read only" if row.read_only else "read and change",
    }


def _time(at: datetime | None) -> str:
    return "unknown" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
