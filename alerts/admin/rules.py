"""The console's page of rules: on or off, how loud, from when on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from activity.changes import Reading, reading
from activity.recorded_admin import Recorded
from alerts import rules
from alerts.admin import rule_preview
from alerts.admin.badges import level_badge
from alerts.models import Rule
from common import markup
from common.markup import Tone
from common.model_admin import StrictUrls
from common.text import format_duration

IN_ORDER = Case(*(When(name=name, then=Value(n)) for n, name in enumerate(rules.RULES)))
LONGEST_HOLD = 7 * 24 * 3_600  # seconds: a rule that waits longer is better switched off
CHANGEABLE = ("enabled", "level", "threshold", "hold_seconds")


class RuleForm(forms.ModelForm[Rule]):
    """Shows the default of each value; an empty one stands for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        default = rules.RULES.get(self.instance.name)
        if default is None:
            return
        hold = int(default.hold.total_seconds())
        hints = {
            "level": f"default: {default.level.label}",
            "threshold": f"{default.edge.value} so many {default.unit}; "
            f"default: {default.threshold or 0:g}",
            "hold_seconds": f"how long it must last, in seconds; default: {hold}",
        }
        for name, hint in hints.items():
            if name in self.fields:
                self.fields[name].help_text = hint
        if "hold_seconds" in self.fields:
            self.fields["hold_seconds"].label = "For"

    def clean_threshold(self) -> float | None:
        value: float | None = self.cleaned_data["threshold"]
        most = rules.RULES[self.instance.name].most
        if value is not None and not 0 < value <= most:
            raise forms.ValidationError(f"Enter a number above 0, {most:,g} at most.")
        return value

    def clean_hold_seconds(self) -> int | None:
        value: int | None = self.cleaned_data["hold_seconds"]
        if value is not None and value > LONGEST_HOLD:
            raise forms.ValidationError(f"Enter {LONGEST_HOLD:,} (7 days) at most.")
        return value

    @property
    def is_preview(self) -> bool:
        return "_preview" in self.data

    def is_valid(self) -> bool:
        """A preview is never saved."""
        return super().is_valid() and not self.is_preview


@admin.register(Rule)
class RuleAdmin(StrictUrls, Recorded, ModelAdmin):
    thing = "rule"
    switch = "enabled"
    form = RuleForm
    list_display = ("title", "state", "level_shown", "limit", "lasting", "why")
    sortable_by = ()
    actions = None
    list_per_page = 100
    list_max_show_all = 0
    show_full_result_count = True  # the table is small
    show_facets = admin.ShowFacets.NEVER
    readonly_fields = ("title", "why")
    change_form_before_template = "alerts/rule_preview.html"
    change_form_after_template = "alerts/rule_tools.html"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        context |= {
            "may_preview": self.has_change_permission(request, context["original"]),
            "show_save_and_continue": False,
        }
        if form.is_bound and form.is_preview and not form.errors:
            context |= rule_preview.context(_in_force(form.instance), request)
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rule]:
        found: QuerySet[Rule] = super().get_queryset(request).filter(name__in=rules.RULES)
        return found

    def get_ordering(self, request: HttpRequest) -> Sequence[Any]:
        """As the code has them: the most severe first."""
        return (IN_ORDER, "pk")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        has_limit = obj is not None and rules.RULES[obj.name].threshold is not None
        fields = [name for name in CHANGEABLE if name != "threshold" or has_limit]
        return ((None, {"fields": ("title", "why", *fields)}),)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Rule, form: Any, change: bool) -> None:
        obj.changed_by = request.user.get_username()
        super().save_model(request, obj, form, change)

    def facts(self, row: Rule) -> Reading:
        return reading(row, ("name", *CHANGEABLE))

    @admin.display(description="rule")
    def title(self, row: Rule) -> str:
        return rules.RULES[row.name].title

    @admin.display(description="why")
    def why(self, row: Rule) -> str:
        return rules.RULES[row.name].why

    @admin.display(description="state")
    def state(self, row: Rule) -> str:
        return markup.badge("on", Tone.GOOD) if row.enabled else markup.badge("off", Tone.QUIET)

    @admin.display(description="level")
    def level_shown(self, row: Rule) -> str:
        return level_badge(_in_force(row).level)

    @admin.display(description="threshold")
    def limit(self, row: Rule) -> str:
        rule = _in_force(row)
        if rule.threshold is None:
            return markup.quiet("none")
        return f"{rule.edge.value} {rule.threshold:g} {rule.unit}"

    @admin.display(description="for")
    def lasting(self, row: Rule) -> str:
        hold = _in_force(row).hold
        return format_duration(hold) if hold else markup.quiet("at once")


def _in_force(row: Rule) -> rules.Rule:
    return rules.in_force([row])[row.name]
