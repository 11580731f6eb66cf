"""The filters of the console's lists: fields that work without scripts and by keyboard."""

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

MOST_PEOPLE = 500
Choices = list[tuple[str, str]]


class PlainForm(DropdownForm):
    """The browser's own list: it works without scripts and by keyboard."""

    widget = UnfoldAdminSelectWidget

    class Media:
        extend = False


class PlainFilter(DropdownFilter):
    """lookup: the field to filter by; default: the parameter's own name."""

    form_class = PlainForm
    lookup = ""

    def choices(self, changelist: Any) -> Any:
        for choice in super().choices(changelist):
            field = choice["form"].fields[self.parameter_name]
            field.label = str(self.title).capitalize()
            yield choice

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        lookup = self.lookup or self.parameter_name
        return queryset.filter(**{lookup: self.value()}) if self.value() else queryset


class PersonFilter(PlainFilter):
    """Those who have an account now; a name that is given in the address is offered, too."""

    title = "who"
    all_option = ("", "everybody")
    parameter_name = "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        staff = get_user_model()._default_manager.filter(is_staff=True).order_by("username")
        names = [*staff.values_list("username", flat=True)[:MOST_PEOPLE]]
        return [(name, name) for name in dict.fromkeys([*names, *filter(None, [self.value()])])]


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
    template = "console/days_filter.html"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        form = DaysForm(self.parameter_name, data=self.used_parameters)
        if not form.is_valid():
            return queryset.none()
        first, last = (form.cleaned_data[f"{self.parameter_name}_{end}"] for end in ("from", "to"))
        if first:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": _midnight(first)})
        if last and last < date.max:
            end = _midnight(last + timedelta(days=1))
            queryset = queryset.filter(**{f"{self.parameter_name}__lt": end})
        return queryset


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
