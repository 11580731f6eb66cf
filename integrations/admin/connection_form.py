"""The form of a connection: how to connect an account, and what can be changed later."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from common.errors import UsageError
from integrations import plugin, registration
from integrations.models import Connection
from integrations.models.connection import LONGEST_FREQUENCY
from integrations.registration import ConnectionInput


def _minutes() -> forms.IntegerField:
    return forms.IntegerField(
        label="Frequency (minutes)",
        required=False,
        min_value=1,
        max_value=LONGEST_FREQUENCY,
        help_text="empty: as often as the service suggests",
        widget=UnfoldAdminIntegerFieldWidget(),
    )


class OAuthForm(forms.Form):
    """What a connection is to be, before its owner signs in at the service."""

    name = forms.CharField(
        max_length=100, help_text="what you call it", widget=UnfoldAdminTextInputWidget()
    )
    minutes = _minutes()
    is_shared = forms.BooleanField(
        label="Shared",
        required=False,
        help_text="others may see its records, too",
        widget=UnfoldBooleanWidget(),
    )


class ChangeForm(forms.ModelForm[Connection]):
    """What can be changed of a connection. With another address, its credentials are entered."""

    token = forms.CharField(
        label="Token or password",
        required=False,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="needed with another address: credentials are sent to no other host than the one "
        "that they were entered for",
    )

    class Meta:
        model = Connection
        fields = (
            *("name", "account", "update_frequency_minutes", "enabled", "is_shared"),
            "base_url",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Fields of forms that may only be read are left out of them.
        if "base_url" in self.fields:
            self.fields["base_url"].required = False  # empty: the service's own
        if "base_url" in self.fields and not self._takes_token():
            self.fields["base_url"].disabled = self.fields["token"].disabled = True
            self.fields["base_url"].help_text = "this service has one address for everybody"

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if "base_url" in values and not values["base_url"]:
            known = plugin.all_plugins().get(self.instance.service)
            values["base_url"] = known.base_url if known else self.initial["base_url"]
        if self.errors or not self.has_credentials:
            return values
        try:
            service = registration.find_service(self.instance.service)
            values["base_url"] = registration.check_address(values["base_url"])
            registration.credentials_for(service, values["account"], values["token"])
        except UsageError as error:
            text = f"{str(error)[:1].upper()}{str(error)[1:]}."
            raise forms.ValidationError(f"With another address: {text}") from None
        return values

    @property
    def has_credentials(self) -> bool:
        """Whether its credentials are entered again: it has another address, or a new token."""
        address = self.cleaned_data.get("base_url", self.initial["base_url"])
        return address != self.initial["base_url"] or bool(self.cleaned_data.get("token"))

    def _takes_token(self) -> bool:
        known = plugin.all_plugins().get(self.instance.service)
        return known is not None and plugin.entered(known) is not None


class ConnectForm(forms.ModelForm[Connection]):
    """person: who connects an account, set by a subclass."""

    person: Any

    service = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    base_url = forms.CharField(
        label="Address",
        required=False,
        max_length=255,
        help_text="of the service's API; empty: the service's own",
        widget=UnfoldAdminTextInputWidget(),
    )
    token = forms.CharField(
        label="Token or password",
        required=False,  # of some services; the others' is checked with the rest
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
        help_text="it is stored encrypted and never shown again; a password only until it was used",
    )
    minutes = _minutes()

    class Meta:
        model = Connection
        fields = ("name", "account", "is_shared")
        widgets = {
            "name": UnfoldAdminTextInputWidget(),
            "account": UnfoldAdminTextInputWidget(),
            "is_shared": UnfoldBooleanWidget(),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["service"]
        field.choices = [
            (one.name, f"{one.title}: {way.help}")
            for one in plugin.by_title()
            if (way := plugin.entered(one)) is not None
        ]

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if self.errors:
            return values
        given = ConnectionInput(
            service=values["service"],
            name=values["name"],
            owner=self.person,
            token=values["token"],
            account=values["account"],
            base_url=values["base_url"],
            minutes=values["minutes"],
            is_shared=values["is_shared"],
        )
        try:
            registration.check(given)
        except UsageError as error:
            raise forms.ValidationError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        values["given"] = given
        return values
