"""The form of an instance. Its password goes in and never comes out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldAdminURLInputWidget,
    UnfoldBooleanWidget,
)

from common.encryption import CredentialError
from common.errors import RainboError, UsageError
from tenants.fleet import ghost_roles, registration
from tenants.fleet.live_limit import live_slot
from tenants.fleet.password_command import has_command
from tenants.fleet.validation import broken_rules
from tenants.models import RdsInstance
from tenants.models.instance import MOST_LABELS

LIMIT = 8.0  # seconds to connect, so that a page answers within ten
# What a connection depends on: another value is tried before it is saved.
CONNECTION = frozenset(
    (
        *("host", "port", "writer_host", "writer_port", "database", "user", "new_password"),
        *("ssl_mode", "ssl_ca", "require_auth"),
    )
)
NEVER_SHOWN = (
    "It is never shown. Leave it empty to keep the stored one; enter it again when host, port, "
    "user, CA or the authentication method change, or the ssl mode becomes weaker."
)


class PemField(forms.CharField):
    """Text of several lines, the same to us whatever line ends a browser sends."""

    def to_python(self, value: Any) -> str:
        return "\n".join(str(super().to_python(value)).splitlines())

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(initial) != self.to_python(data)


class InstanceForm(forms.ModelForm[RdsInstance]):
    new_password = forms.CharField(
        label="Password",
        required=False,
        strip=False,
        max_length=1024,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    save_anyway = forms.BooleanField(
        label="Save without connecting",
        required=False,
        help_text="otherwise a new server, or another password, is connected to before it is saved",
        widget=UnfoldBooleanWidget,
    )
    app_url = forms.URLField(
        label="App URL",
        required=False,
        max_length=200,
        assume_scheme="https",
        help_text="where the tenants of this instance sign in",
        widget=UnfoldAdminURLInputWidget,
    )
    labels = SimpleArrayField(
        forms.CharField(max_length=50),
        required=False,
        max_length=MOST_LABELS,
        help_text="words such as production or tier=gold, separated by commas; each works like a "
        "group",
        widget=UnfoldAdminTextInputWidget,
    )
    tenant_url = forms.CharField(
        label="Tenant URL",
        required=False,
        max_length=200,
        help_text="the address of one tenant, with {tenant} for its id, such as "
        "https://{tenant}.app.example.com; empty: the App URL",
        widget=UnfoldAdminTextInputWidget,
    )
    ssl_ca = PemField(
        label="CA certificates (PEM)",
        required=False,
        help_text="empty: the system's own",
        widget=UnfoldAdminTextareaWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_new = self.instance.pk is None
        self.re_encrypted = False  # whether the password was encrypted again
        for field in self.fields.values():
            if isinstance(field.widget, forms.Textarea):
                field.widget.attrs["rows"] = 3  # most stay empty: the form is read at a glance
        if "new_password" not in self.fields:  # a user who can only view
            return
        if self.is_new:
            self.fields["id"].initial = RdsInstance.next_id()
        else:
            self.fields["new_password"].help_text = NEVER_SHOWN

    def _get_validation_exclusions(self) -> set[str]:
        """Another master is no obstacle: it hands the role over when this one is saved."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded | {"is_master"}

    def clean_labels(self) -> list[str]:
        return list(dict.fromkeys(filter(None, self.cleaned_data["labels"])))

    def clean_ghost_roles(self) -> str:
        return ghost_roles.normal(self.cleaned_data["ghost_roles"])

    def clean_support_mail_text(self) -> str:
        return "\n".join(str(self.cleaned_data["support_mail_text"]).splitlines())

    def clean_ssl_ca(self) -> str:
        """The stored text where only its line ends differ: the password is bound to it."""
        if "ssl_ca" in self.changed_data:
            return str(self.cleaned_data["ssl_ca"])
        return self.instance.ssl_ca

    def _post_clean(self) -> None:
        """Encrypt the password for the current settings, or check that the old one fits."""
        before = None if self.is_new else self.instance.binding
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, untyped
        if not self.errors:
            for name, message in broken_rules(self.instance).items():
                self.add_error(name, message)
        if self.errors:
            return
        password = self.cleaned_data.get("new_password")
        if self.is_new and not password and not has_command(self.instance.host):
            self.add_error("new_password", "This field is required.")
            return
        self.re_encrypted = bool(password) or self.instance.binding != before
        try:
            if password:
                self.instance.set_password(password)
            elif self.re_encrypted:
                registration.keep_password(self.instance)
        except (CredentialError, UsageError) as error:
            self.add_error("new_password", str(error))
            return
        if not self.cleaned_data["save_anyway"] and (self.is_new or self._leads_elsewhere):
            self._connect(bool(password))

    @property
    def _leads_elsewhere(self) -> bool:
        return not CONNECTION.isdisjoint(self.changed_data)

    def _connect(self, password: bool) -> None:
        """Try the settings as add_instance does: what can't work is not saved by mistake.

        password: whether one was entered, which the form does not give back.
        """
        limit = LIMIT / 2 if self.instance.writer_host else LIMIT
        try:
            with live_slot():
                registration.verify_within(self.instance, limit)
        except RainboError as error:
            again = " Enter the password again: it is never shown." if password else ""
            how = "Correct the settings, or choose to save without connecting"
            self.add_error(None, f"Not saved: {error}. {how}.{again}")
