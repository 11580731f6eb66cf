"""The one door into the record of what people do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Model
from django.http import HttpRequest

from activity.models import Activity

Values = Mapping[str, Any]


def record(
    request: HttpRequest,
    action: str,
    subject: Model | str = "",
    *,
    before: Values | None = None,
    after: Values | None = None,
) -> None:
    """Record what the request's user did, in the transaction that does it.

    action: `thing.verb`, the verb in the past tense. subject: the row it was done to, or its
    name. before, after: the values that it changed; never a secret.
    """
    is_row = isinstance(subject, Model)
    Activity.objects.create(
        actor=request.user.get_username(),
        actor_id=request.user.pk,
        address=request.META.get("REMOTE_ADDR") or None,
        action=action,
        subject=str(subject)[:255],
        subject_kind=subject._meta.label_lower if is_row else "",  # type: ignore[union-attr]
        subject_id=str(subject.pk) if is_row else "",  # type: ignore[union-attr]
        before=dict(before) if before is not None else None,
        after=dict(after) if after is not None else None,
    )
