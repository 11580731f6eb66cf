"""Reads the record of what people did."""

from __future__ import annotations

from django.db.models import Model

from activity.models import Activity


def of(subject_kind: str, subject_id: object, limit: int = 20) -> list[Activity]:
    """The last actions on one object, the latest first. subject_kind: app.model."""
    rows = Activity.objects.filter(subject_kind=subject_kind, subject_id=str(subject_id))
    return list(rows[:limit])


def of_row(row: Model, limit: int = 20) -> list[Activity]:
    """The same for a row at hand."""
    return of(row._meta.label_lower, row.pk, limit)
