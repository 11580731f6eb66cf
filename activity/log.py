"""The one door into the record of what people do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Model
from django.http import HttpRequest

from activity import wording
from activity.address import address_of
from activity.models import Activity

COMMAND_LINE = "command line"  # who did it, where a command does not know its caller

Values = Mapping[str, Any]
Subject = Model | AnonymousUser | str


def record(
    request: HttpRequest,
    action: str,
    subject: Subject = "",
    *,
    before: Values | None = None,
    after: Values | None = None,
) -> Activity:
    """Record what the request's user did, in the transaction that does it.

    action: `thing.verb`, the verb in the past tense, as `activity.actions` lists it. subject: the
    row it was done to, or its name. before, after: the values that it changed; never a secret.
    """
    return record_by(
        request.user.get_username(),
        request.user.pk,
        address_of(request),
        action,
        subject,
        before=before,
        after=after,
    )


def record_by(
    actor: str,
    actor_id: int | None,
    address: str | None,
    action: str,
    subject: Subject = "",
    *,
    before: Values | None = None,
    after: Values | None = None,
) -> Activity:
    """Record an action of another than the request's user, such as a failed sign-in.

    actor: the name as it was given. address: of `activity.address.address_of(request)`.
    """
    is_row = isinstance(subject, Model)
    return Activity.objects.create(
        actor=wording.storable_text(actor, 150),
        actor_id=actor_id,
        address=address,
        action=action,
        subject=wording.storable_text(str(subject), 255),
        subject_kind=subject._meta.label_lower if is_row else "",  # type: ignore[union-attr]
        subject_id=wording.storable_text(str(subject.pk), 64) if is_row else "",  # type: ignore[union-attr]
        before=wording.storable(before),
        after=wording.storable(after, hide_as="changed"),
    )
