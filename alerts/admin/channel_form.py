"""The form of a channel, by its kind. Its secrets go in and never come out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from alerts.channels import registry, webhook
from alerts.models import Channel, ChannelKind
from common.errors import RainboError
from common.terminal import is_one_line
from common.text import clip, listed
from syncs import hooks
from syncs.engine import registry as syncs

MOST_RECIPIENTS = 50
STORED = "It is never shown. Leave it empty to keep the stored one."
HINTS: Mapping[str, str] = {
    ChannelKind.SLACK: "of an incoming webhook of Slack, or of what takes the same (Mattermost)",
    ChannelKind.DISCORD: "of a webhook of a Discord channel",
    ChannelKind.WEBHOOK: "to which the signed JSON is sent",
    ChannelKind.APPRISE: "with one recipient, such as tgram://token/chat or "
    "pagerduty://integration-key@api-key; the page on alerts lists the services",
}

URLS: Mapping[str, str] = {ChannelKind.APPRISE: "Apprise URL"}


def _secret(label: str) -> forms.CharField:
    attributes = {"autocomplete": "new-password"}
    return forms.CharField(
        label=label,
        required=False,
        max_length=2_000,
        widget=UnfoldAdminPasswordWidget(attrs=attributes),
    )


def _time(label: str) -> forms.TimeField:
    return forms.TimeField(
        label=label,
        required=False,
        input_formats=["%H:%M", "%H:%M:%S"],
        help_text="hour and minute: 22:00",
        widget=UnfoldAdminSingleTimeWidget(format="%H:%M"),
    )


class ChannelForm(forms.ModelForm[Channel]):
    new_address = _secret("Webhook URL")
    new_signing = _secret("Signing key")
    to = forms.CharField(
        label="Recipients",
        required=False,
        help_text="e-mail addresses, one a line or separated by commas",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    only_syncs = forms.MultipleChoiceField(
        label="Only these syncs",
        required=False,
        help_text="Leave empty to include all. What is about no sync alone is always sent.",
        widget=forms.CheckboxSelectMultiple,
    )
    only_instances = forms.CharField(
        label="Only these instances",
        required=False,
        help_text="ids, separated by commas. Leave empty to include all.",
        widget=UnfoldAdminTextInputWidget,
    )
    only_groups = forms.CharField(
        label="Only these groups",
        required=False,
        help_text="of instances, separated by commas. Leave empty to include all.",
        widget=UnfoldAdminTextInputWidget,
    )
    only_labels = forms.CharField(
        label="Only these labels",
        required=False,
        help_text="of instances, separated by commas: one of them is enough. "
        "Leave empty to include all.",
        widget=UnfoldAdminTextInputWidget,
    )
    zone = forms.ChoiceField(
        label="Time zone",
        choices=[(zone, zone) for zone in sorted(available_timezones())],
        initial="UTC",
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    quiet_from = _time("Quiet from")
    quiet_to = _time("Quiet to")

    class Meta:
        labels = {"per_hour": "Messages an hour"}
        help_texts = {
            "level": "these and more severe ones",
            "personal_data": "Names of people and e-mail addresses may be sent there.",
            "per_hour": "at most; what exceeds it comes together later",
        }

    kind = ChannelKind.SLACK  # of the channel, or of the page that adds one

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row = self.instance
        self.is_new = row._state.adding
        if self.is_new:
            row.kind = self.kind
        for name in self._fields_of_other_kinds():
            self.fields.pop(name, None)
        if "new_address" in self.fields:
            hint = HINTS.get(row.kind, "")
            self.fields["new_address"].label = URLS.get(row.kind, "Webhook URL")
            self.fields["new_address"].help_text = hint if self.is_new else f"{hint}. {STORED}"
        if "new_signing" in self.fields:
            example = f"For example: {webhook.new_key()}"
            more = (
                example if self.is_new else f"{STORED} Enter it again when the URL's host changes."
            )
            self.fields[
                "new_signing"
            ].help_text = f"whsec_ and base64; the receiver has the same. {more}"
        if "to" in self.fields:
            self.fields["to"].initial = "\n".join(row.recipients)
        if "only_syncs" in self.fields:
            named = [(sync.name, sync.title) for sync in syncs.all_syncs()]
            self.fields["only_syncs"].choices = named  # type: ignore[attr-defined]
            self.fields["only_syncs"].initial = row.syncs
        if "only_instances" in self.fields:
            self.fields["only_instances"].initial = ", ".join(map(str, row.instances))
        for name, known in (("only_groups", row.groups), ("only_labels", row.labels)):
            if name in self.fields:
                self.fields[name].initial = ", ".join(known)

    def _fields_of_other_kinds(self) -> list[str]:
        kind = registry.KINDS[self.instance.kind]
        own = {"new_address": kind.has_address, "to": not kind.has_address}
        own |= {"new_signing": kind.has_signing}
        return [name for name, is_own in own.items() if not is_own]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not is_one_line(name):
            raise ValidationError("Enter one line without control characters.")
        return name

    def clean_to(self) -> list[str]:
        found = list(dict.fromkeys(re.split(r"[\s,;]+", self.cleaned_data["to"].strip(" ,;\r\n"))))
        found = [*filter(None, found)]
        if not found:
            raise ValidationError("This field is required.")
        if len(found) > MOST_RECIPIENTS:
            raise ValidationError(f"Enter at most {MOST_RECIPIENTS} addresses, or a list's.")
        for address in found:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError(f"{clip(address, 100)} is no e-mail address.") from None
        return found

    def clean_only_instances(self) -> list[int]:
        try:
            given = [int(part) for part in self._listed("only_instances")]
        except ValueError:
            raise ValidationError("Enter ids of instances, separated by commas.") from None
        known = {*hooks.target_groups(), *map(str, self.instance.instances)}
        if unknown := [str(one) for one in given if str(one) not in known]:
            raise ValidationError(f"There is no instance {clip(listed(unknown), 100)}.")
        return given

    def clean_only_groups(self) -> list[str]:
        known = {group.group for group in hooks.target_groups().values()}
        return self._known("only_groups", known, self.instance.groups, "group")

    def clean_only_labels(self) -> list[str]:
        known = {label for group in hooks.target_groups().values() for label in group.labels}
        return self._known("only_labels", known, self.instance.labels, "label")

    def _known(self, name: str, known: set[str], before: list[str], what: str) -> list[str]:
        """Reject what no instance has, unless the channel had it already."""
        given = self._listed(name)
        if unknown := [one for one in given if one not in known | {*before}]:
            raise ValidationError(f"No instance has the {what} {listed(unknown)}.")
        return given

    def _listed(self, name: str) -> list[str]:
        parts = [part.strip() for part in self.cleaned_data[name].split(",")]
        return list(dict.fromkeys(filter(None, parts)))

    def clean_per_hour(self) -> int:
        if not (count := self.cleaned_data["per_hour"]):
            raise ValidationError("Enter 1 or more; to send nothing, disable the channel.")
        return int(count)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        begin, end = data.get("quiet_from"), data.get("quiet_to")
        if (begin is None) != (end is None) and not self.errors.keys() & {"quiet_from", "quiet_to"}:
            self.add_error("quiet_to", "Quiet hours need both a beginning and an end.")
        elif begin is not None and begin == end:
            self.add_error(
                "quiet_to",
                "Enter another time than the beginning; for no messages at "
                "all but urgent ones, choose the level urgent.",
            )
        return data

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, untyped
        if self.errors:
            return
        row, data = self.instance, self.cleaned_data
        row.recipients = data.get("to", row.recipients)
        row.syncs, row.instances = data["only_syncs"], data["only_instances"]
        row.groups, row.labels = data["only_groups"], data["only_labels"]
        row.zone = data.get("zone") or "UTC"
        self._encrypt("new_address", self._set_address, needed=registry.KINDS[row.kind].has_address)
        if registry.KINDS[row.kind].has_signing and not self.errors:
            self._encrypt("new_signing", self._set_signing, needed=True)

    def _encrypt(self, name: str, store: Any, *, needed: bool) -> None:
        value = self.cleaned_data.get(name, "").strip()
        if not value:
            if needed and self.is_new:
                self.add_error(name, "This field is required.")
            return
        try:
            store(value)
        except RainboError as error:
            self.add_error(name, str(error))

    def _set_address(self, url: str) -> None:
        host = registry.KINDS[self.instance.kind].check_address(url)
        is_elsewhere = not self.is_new and host != self.instance.host
        if is_elsewhere and self.instance.signing and not self.cleaned_data.get("new_signing"):
            self.add_error("new_signing", "The URL has another host: enter the signing key again.")
            return
        self.instance.set_address(url, host)
        self.instance.gone_at = self.instance.failing_since = None
        self.instance.last_error = ""

    def _set_signing(self, key: str) -> None:
        webhook.decode_key(key)
        self.instance.set_signing(key)
