"""Pages of Django's admin whose additions, changes and deletions are recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from activity.changes import Reading, actions, differences
from activity.log import record
from common.model_admin import HistoryInActivity


class Recorded(HistoryInActivity):
    """Goes before ModelAdmin among the bases.

    Django saves in one transaction, so that what fails leaves no record.
    """

    thing = ""  # "user" makes user.created, user.changed, user.deleted
    added_as = "created"
    switch = ""  # a field whose change is an action of its own,
    switched_on, switched_off = "enabled", "disabled"  # with these names

    def facts(self, row: Any) -> Reading:
        """Every value of a row whose change is to be recorded; no secret."""
        raise NotImplementedError

    def facts_of_form(self, form: Any) -> Reading:
        """Changes of the form that no fact shows, such as `{"password": "changed"}`."""
        return {}

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        form.values_before = self._stored_values(form.instance) if change else {}
        return super().save_form(request, form, change)  # type: ignore[misc]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)  # type: ignore[misc]
        before, after = differences(form.values_before, self._stored_values(form.instance))
        after |= self.facts_of_form(form)
        if not change:
            record(request, f"{self.thing}.{self.added_as}", form.instance, after=after)
            return
        verbs = self.switched_on, self.switched_off
        for action, was, now in actions(self.thing, before, after, self.switch, verbs):
            record(request, action, form.instance, before=was, after=now)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            self.record_deletion(request, [obj])
            super().delete_model(request, obj)  # type: ignore[misc]

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            self.record_deletion(request, queryset)
            super().delete_queryset(request, queryset)  # type: ignore[misc]

    def record_deletion(self, request: HttpRequest, rows: Iterable[Model]) -> None:
        for row in rows:
            values = self.facts(row)
            record(request, f"{self.thing}.deleted", row, before=values)

    def _stored_values(self, row: Model) -> Reading:
        """Read again: the form has written to the row at hand."""
        return self.facts(self.model._default_manager.get(pk=row.pk))
