"""The form of a new token: its name, what it may do, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from api import scopes
from api.models import ApiToken
from common.clock import database_now

CHOSEN = "chosen"
DAYS = {"30": "30 days", "90": "90 days", "365": "a year", "": "until it is revoked"}


class TokenForm(forms.ModelForm[ApiToken]):
    """person: who makes it, set by a subclass; nobody gives a token what they may not do."""

    person: Any

    role = forms.ChoiceField(
        choices=[
            ("operator", "Operator: runs and reads"),
            ("monitoring", "Monitoring: reads"),
            (CHOSEN, "The scopes chosen below"),
        ],
        initial="operator",
        widget=UnfoldAdminRadioSelectWidget(),
    )
    chosen = forms.MultipleChoiceField(
        label="Scopes",
        required=False,
        choices=[(name, f"{name}: {scope.text}") for name, scope in scopes.SCOPES.items()],
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )
    valid_for = forms.ChoiceField(
        choices=[*DAYS.items()],
        required=False,
        initial="90",
        widget=UnfoldAdminSelectWidget(),
    )

    class Meta:
        model = ApiToken
        fields = ("name",)
        widgets = {"name": UnfoldAdminTextInputWidget()}

    def clean_name(self) -> str:
        name = " ".join(str(self.cleaned_data["name"]).split())
        if not name.isprintable():
            raise forms.ValidationError("Use printable characters.")
        if ApiToken.objects.filter(name=name, revoked_at=None).exists():
            raise forms.ValidationError(
                "There is a token with this name: rotate that one, or choose another name."
            )
        return name

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        role = values.get("role", CHOSEN)
        wanted = values.get("chosen", []) if role == CHOSEN else list(scopes.ROLES[role])
        if not wanted and "chosen" not in self.errors:
            self.add_error("chosen", "Choose at least one scope.")
        if missing := scopes.missing_permissions(wanted, self.person):
            names = ", ".join(missing)
            self.add_error("role", f"You don't have the permissions for {names} yourself.")
        values["scopes"] = wanted
        days = values.get("valid_for")
        values["expires_at"] = database_now() + timedelta(days=int(days)) if days else None
        return values
