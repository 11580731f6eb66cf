"""The form of a schedule: everything is chosen, nothing that runs is written as text."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from syncs.engine import registry
from syncs.engine.registry import Sync
from syncs.models import SyncSchedule
from syncs.reports.schedule_preview import Preview, preview
from syncs.schedules import crontab, store
from syncs.schedules.presets import HOURS, LAST_DAY, NEEDS, WEEKDAYS, Choice, PresetKind, from_cron
from syncs.schedules.store import LONGEST_GRACE, LONGEST_NOTE, OFF, Wanted

TIMING_FIELDS = ("minute", "hours", "at", "weekday", "day", "cron")


def _number(label: str, least: int, most: int, help_text: str) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        required=False,
        min_value=least,
        max_value=most,
        help_text=help_text,
        widget=UnfoldAdminIntegerFieldWidget,
    )


class ScheduleForm(forms.ModelForm[SyncSchedule]):
    sync = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    enabled = forms.BooleanField(
        required=False,
        initial=True,
        help_text="Clear this to stop scheduled runs.",
        widget=UnfoldBooleanWidget,
    )
    kind = forms.ChoiceField(
        label="Frequency",
        choices=[(kind.value, kind.label) for kind in PresetKind],
        widget=UnfoldAdminSelectWidget,
    )
    minute = _number("Minute", 0, 59, "of the hour")
    hours = forms.TypedChoiceField(
        label="Every",
        required=False,
        coerce=int,
        choices=[(hours, f"{hours} hours") for hours in HOURS],
        help_text="counted from 00:00 UTC",
        widget=UnfoldAdminSelectWidget,
    )
    at = forms.TimeField(
        label="At (UTC)",
        required=False,
        help_text="hour and minute, in UTC: 02:30",
        input_formats=["%H:%M", "%H:%M:%S"],
        widget=UnfoldAdminSingleTimeWidget(format="%H:%M"),
    )
    weekday = forms.TypedChoiceField(
        required=False,
        coerce=int,
        choices=list(enumerate(WEEKDAYS)),
        widget=UnfoldAdminSelectWidget,
    )
    day = _number(
        "Day of the month", 1, LAST_DAY, f"1 to {LAST_DAY}: later days don't exist in every month"
    )
    cron = forms.CharField(
        label="Cron expression",
        required=False,
        max_length=crontab.LONGEST,
        help_text="minute, hour, day of the month, month, weekday; in UTC: */20 6-18 * * 1-5",
        widget=UnfoldAdminTextInputWidget,
    )
    instances = forms.MultipleChoiceField(
        required=False,
        help_text="Leave empty to include all instances.",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )
    force = forms.BooleanField(
        required=False,
        help_text="Sync every instance, even if its data is fresh.",
        widget=UnfoldBooleanWidget,
    )
    grace_seconds = forms.IntegerField(
        label="Grace in seconds",
        required=False,
        min_value=0,
        max_value=LONGEST_GRACE,
        help_text="How late a run may end before it counts as late. Empty: the default grace.",
        widget=UnfoldAdminIntegerFieldWidget,
    )
    note = forms.CharField(
        required=False,
        max_length=LONGEST_NOTE,
        help_text="shown to other users",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    accepted = forms.CharField(required=False)  # the cron expression whose warnings were read

    class Meta:
        model = SyncSchedule
        fields = ("sync", "grace_seconds", "note")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_new = self.instance.pk is None
        self.wanted: Wanted | None = None
        self.fields["sync"].choices = self._sync_choices()  # type: ignore[attr-defined]
        self.fields["instances"].choices = self._target_choices()  # type: ignore[attr-defined]
        self._choose(from_cron(self.instance.schedule.cron or "") if not self.is_new else None)
        if not self.is_new:
            self.fields["sync"].disabled = True
            self.initial["enabled"] = self.instance.schedule.repeats != OFF
            self.initial["instances"] = self.instance.options.get("targets", [])
            self.initial["force"] = bool(self.instance.options.get("force"))
            self.initial["seen"] = store.version(self.instance)

    @property
    def preview(self) -> Preview | None:
        """Preview the entered frequency, or else the stored one."""
        if self.is_bound:
            sync, wanted = self._chosen_sync(), self.wanted
            return preview(sync, wanted.cron, wanted.grace_seconds) if sync and wanted else None
        if self.is_new or not crontab.is_valid(self.instance.schedule.cron or ""):
            return None
        sync = self._chosen_sync()
        cron, grace = self.instance.schedule.cron, self.instance.grace_seconds
        return preview(sync, cron, grace) if sync else None

    @property
    def needs_acceptance(self) -> bool:
        """Whether the input has warnings that are not accepted yet."""
        if self.wanted is None or not self._changes_frequency():
            return False
        shown = self.preview
        is_read = self.cleaned_data.get("accepted") == self.wanted.cron
        return bool(shown and shown.warnings and not is_read)

    def is_valid(self) -> bool:
        """A preview is never saved, and no surprise is before it was read."""
        if not super().is_valid() or "_preview" in self.data:
            return False
        if self.needs_acceptance:
            self.add_error(None, "Not saved yet: read the warnings and accept them.")
        return not self.errors

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if "kind" not in cleaned:
            return cleaned
        kind = PresetKind(cleaned["kind"])
        for name in TIMING_FIELDS:
            if name not in NEEDS.get(kind, ()):
                self.errors.pop(name, None)
            elif name not in self.errors and cleaned.get(name) in (None, ""):
                self.add_error(name, f"Required for {kind.label}.")
        self._check_targets()
        if not any(name in self.errors for name in TIMING_FIELDS):
            self._want(_choice(kind, cleaned))
        return cleaned

    def _want(self, choice: Choice) -> None:
        cron = crontab.normalize(choice.as_cron())
        if problem := crontab.find_problem(cron):
            self.add_error("cron", f"Enter a valid cron expression. {problem}")
            return
        cleaned = self.cleaned_data
        options = {"targets": cleaned.get("instances") or [], "force": cleaned.get("force")}
        self.wanted = Wanted(
            cron=cron,
            enabled=bool(cleaned.get("enabled")),
            options={name: value for name, value in options.items() if value},
            grace_seconds=cleaned.get("grace_seconds"),
            note=cleaned.get("note", ""),
        )

    def _check_targets(self) -> None:
        sync = self._chosen_sync()
        chosen = set(self.cleaned_data.get("instances") or [])
        if sync is None or not chosen:
            return
        taken = {target.key for target in sync.targets()} | self._stored()
        if foreign := chosen - taken:
            names = ", ".join(sorted(foreign))
            self.add_error("instances", f"{sync.title} does not include instance {names}.")

    def _chosen_sync(self) -> Sync | None:
        return _known(self.cleaned_data.get("sync", "") if self.is_new else self.instance.sync)

    def _changes_frequency(self) -> bool:
        if self.is_new or self.wanted is None:
            return True
        row = self.instance.schedule
        is_switched_on = self.wanted.enabled and row.repeats == OFF
        return self.wanted.cron != row.cron or is_switched_on

    def _choose(self, choice: Choice | None) -> None:
        """Fill in a stored frequency, or the default one."""
        shown = choice or Choice(PresetKind.EVERY_15)
        self.initial["kind"] = shown.kind.value
        for name in TIMING_FIELDS:
            self.initial[name] = getattr(shown, name)

    def _sync_choices(self) -> list[tuple[str, str]]:
        """For a new schedule, the syncs that have none."""
        known = registry.scheduled_syncs()
        if not self.is_new:
            own = self.instance.sync
            return [(own, next((sync.title for sync in known if sync.name == own), own))]
        taken = set(SyncSchedule.objects.values_list("sync", flat=True))
        return [(sync.name, sync.title) for sync in known if sync.name not in taken]

    def _target_choices(self) -> list[tuple[str, str]]:
        """The instances that the sync takes, and those that were chosen once and are gone."""
        own = self.instance.sync
        syncs = [sync for sync in registry.scheduled_syncs() if self.is_new or sync.name == own]
        labels = {target.key: target.label for sync in syncs for target in sync.targets()}
        gone = {key: f"instance {key} (not active)" for key in self._stored() - labels.keys()}
        return sorted((labels | gone).items(), key=lambda item: (len(item[0]), item[0]))

    def _stored(self) -> set[str]:
        """The instances that the schedule names so far."""
        return set(self.instance.options.get("targets", []))


def _choice(kind: PresetKind, cleaned: dict[str, Any]) -> Choice:
    return Choice(kind, **{name: cleaned[name] for name in NEEDS.get(kind, ())})


def _known(name: str) -> Sync | None:
    return next((sync for sync in registry.scheduled_syncs() if sync.name == name), None)
