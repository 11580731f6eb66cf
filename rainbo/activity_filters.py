"""What the record of people's actions can be narrowed to: each is answered by an index."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter, RangeDateFilter
from unfold.contrib.filters.forms import DropdownForm
from unfold.widgets import INPUT_CLASSES, UnfoldAdminSelectWidget

from activity import queries
from activity.actions import ACTIONS
from activity.history import OF

MOST_PEOPLE = 500
Choices = list[tuple[str, str]]


class PlainForm(DropdownForm):
    """The browser's own list: it works without scripts and by keyboard."""

    widget = UnfoldAdminSelectWidget

    class Media:
        extend = False


class PlainFilter(DropdownFilter):
    form_class = PlainForm

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            field = choice["form"].fields[self.parameter_name]
            field.label = str(self.title).capitalize()
            yield choice


class ActionFilter(PlainFilter):
    title = "what"
    all_option = ("", "everything")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return list(ACTIONS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class PersonFilter(PlainFilter):
    """Those who have an account now; a name that is given in the address is offered, too."""

    title = "who"
    all_option = ("", "everybody")
    parameter_name = "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        staff = get_user_model()._default_manager.filter(is_staff=True).order_by("username")
        names = [*staff.values_list("username", flat=True)[:MOST_PEOPLE]]
        return [(name, name) for name in dict.fromkeys([*names, *filter(None, [self.value()])])]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(actor=self.value()) if self.value() else queryset


class SinceFilter(PlainFilter):
    title = "when"
    all_option = ("", "at any time")
    parameter_name = "since"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("today", "today"), ("7", "the last 7 days"), ("30", "the last 30 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.localtime()
        starts = {
            "today": now.replace(hour=0, minute=0, second=0, microsecond=0),
            "7": now - timedelta(days=7),
            "30": now - timedelta(days=30),
        }
        start = starts.get(self.value() or "")
        return queryset.filter(at__gte=start) if start else queryset


class DaysForm(forms.Form):
    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for end in ("from", "to"):
            looks = {"type": "date", "class": " ".join(INPUT_CLASSES)}
            widget = forms.DateInput(format="%Y-%m-%d", attrs=looks)
            self.fields[f"{name}_{end}"] = forms.DateField(label=end, required=False, widget=widget)


class DaysFilter(RangeDateFilter):
    """From one day to another, both of them included, in the zone of the one who looks."""

    form_class = DaysForm
    template = "activity/days_filter.html"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        form = DaysForm(self.parameter_name, data=self.used_parameters)
        if not form.is_valid():
            return queryset.none()
        first, last = (form.cleaned_data[f"{self.parameter_name}_{end}"] for end in ("from", "to"))
        if first:
            queryset = queryset.filter(at__gte=_midnight(first))
        if last:
            queryset = queryset.filter(at__lt=_midnight(last + timedelta(days=1)))
        return queryset


class ObjectFilter(PlainFilter):
    """One object: other pages lead here. Offered only then."""

    title = "on what"
    all_option = ("", "everything")
    parameter_name = OF

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        value = self.value()
        if not value:
            return []
        last = queries.of(*_kind_and_id(value), limit=1)
        return [(value, last[0].subject if last else value)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (value := self.value()):
            return queryset
        kind, pk = _kind_and_id(value)
        return queryset.filter(subject_kind=kind, subject_id=pk)


def _kind_and_id(value: str) -> tuple[str, str]:
    kind, _, pk = value.replace("\0", "").partition(":")
    return kind, pk


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
