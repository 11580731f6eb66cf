"""The engine's tables: runs, leases, confirmations, withheld and held rows."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar
from uuid import uuid4

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.fields import RedactedTextField
from syncs.names import title_of


class RunState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    HELD = "held"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


OPEN_STATES = (RunState.QUEUED, RunState.RUNNING)


class TargetState(models.TextChoices):
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    HELD = "held"
    FAILED = "failed"
    SKIPPED = "skipped"


class Trigger(models.TextChoices):
    COMMAND = "command"
    SCHEDULE = "schedule"
    BUTTON = "button"
    API = "api"
    SIGNAL = "signal"


# Such a run waits for one of its sync that is in progress, which may have read before; others are
# skipped then.
PATIENT = (Trigger.SIGNAL, Trigger.API)


class SyncRun(models.Model):
    """One execution of a sync."""

    sync = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=RunState.choices, default=RunState.QUEUED)
    trigger = models.CharField(max_length=16, choices=Trigger.choices)
    actor = models.CharField(max_length=150, blank=True, help_text="who asked for it")
    options = models.JSONField(default=dict)
    slot = models.DateTimeField(null=True, blank=True, help_text="scheduled time")
    attempt = models.PositiveSmallIntegerField(default=1)
    not_before = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="by a monotonic clock")
    token = models.BigIntegerField(null=True, blank=True, help_text="fencing token of its lease")
    nonce = models.UUIDField(default=uuid4, db_default=RandomUUID(), editable=False)
    host = models.CharField(max_length=255, blank=True)
    pid = models.IntegerField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.CharField(max_length=150, blank=True)
    error = RedactedTextField(blank=True)
    met = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="skipped_for",
        help_text="the run that was in progress",
    )
    superseded_by = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="supersedes"
    )
    accepted_by = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="accepts"
    )
    discarded_at = models.DateTimeField(
        null=True, blank=True, help_text="when a person refused what it holds"
    )
    # Database defaults too: servers of the previous version insert runs during an upgrade.
    discarded_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    discard_reason = models.CharField(max_length=255, blank=True, default="", db_default="")
    rolled_up = models.JSONField(
        null=True, editable=False, help_text="counts, by state, of parts that are no longer stored"
    )

    class Meta:
        verbose_name = "run"
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [("accept_held", "Can accept or discard what a guard held")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["sync", "slot", "attempt"],
                condition=Q(slot__isnull=False),
                name="one_run_per_slot_and_attempt",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["sync", "-id"], name="runs_of_a_sync"),
            models.Index(
                fields=["sync"],
                condition=Q(state__in=["queued", "running"]),
                name="open_runs",
            ),
            models.Index(fields=["state", "-id"], name="runs_in_a_state"),
            models.Index(fields=["trigger", "-id"], name="runs_by_trigger"),
            models.Index(fields=["actor", "-id"], condition=~Q(actor=""), name="runs_of_a_person"),
            models.Index(fields=["-created_at", "-id"], name="runs_of_a_day"),
            models.Index(fields=["-id"], condition=Q(options__has_key="dry_run"), name="dry_runs"),
            # All that statistics over many runs read, in the order in which they read it.
            models.Index(
                fields=["sync", "finished_at"],
                include=["state", "seconds"],
                condition=Q(state__in=["succeeded", "partial", "held", "failed", "lost"])
                & ~Q(options__has_key="dry_run"),
                name="executions_of_a_sync",
            ),
            models.Index(
                fields=["id"], condition=Q(rolled_up__isnull=True), name="runs_to_roll_up"
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk} of {title_of(self.sync)}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def is_dry(self) -> bool:
        return bool(self.options.get("dry_run"))

    @property
    def counts_rolled_up(self) -> dict[str, dict[str, int]]:
        """By state, how many `parts` are no longer stored, and the sums of their known counts."""
        return self.rolled_up or {}

    @property
    def purpose(self) -> str:
        """The name that its sessions on instances carry."""
        return f"{self.sync}/{self.pk}"

    def move(self, to: RunState, *, expect: tuple[RunState, ...], **fields: Any) -> bool:
        """Change the state if it is still one of `expect`; return whether it was changed.

        The row is read again in either case. Where the database was restored to an older copy,
        it is gone, or another run has this one's id: its nonce differs, and it is left alone.
        """
        nonce = self.nonce
        same = SyncRun.objects.filter(pk=self.pk, nonce=nonce)
        moved = same.filter(state__in=expect).update(state=to, **fields)
        with suppress(SyncRun.DoesNotExist):
            self.refresh_from_db()
        self.nonce = nonce
        return bool(moved)


class RunTarget(models.Model):
    """One instance's part in a run. Counts are null where they are unknown."""

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="targets")
    target = models.CharField(max_length=64)
    label = models.CharField(max_length=255)
    state = models.CharField(
        max_length=16, choices=TargetState.choices, default=TargetState.WAITING
    )
    read = models.BigIntegerField(null=True)
    added = models.BigIntegerField(null=True)
    changed = models.BigIntegerField(null=True)
    removed = models.BigIntegerField(null=True)
    withheld = models.BigIntegerField(null=True)
    total = models.BigIntegerField(null=True, help_text="rows of the source after the run")
    seconds = models.FloatField(null=True)
    note = RedactedTextField(blank=True, help_text="why it was skipped or held")
    error = RedactedTextField(blank=True)
    error_kind = models.CharField(max_length=16, blank=True)
    passing = models.BooleanField(default=False, help_text="an error that can pass by itself")
    held_counts = models.JSONField(null=True, help_text="of what is held: changes of each kind")
    held_tenants = models.JSONField(
        null=True, help_text="of what is held: the tenants with most changes, and how many more"
    )
    # Database defaults: servers of the previous version insert parts during an upgrade.
    guarded_counts = models.JSONField(
        null=True, help_text="what the guard adds up over 24 h: rows of each kind of change"
    )
    source = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="identity of the server"
    )
    accepted = models.BooleanField(
        default=False, db_default=False, help_text="a person had accepted what it published"
    )

    class Meta:
        ordering: ClassVar = ["run", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "target"], name="one_part_per_run_and_target"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["target", "-run"], name="runs_of_a_target"),
            models.Index(fields=["run"], condition=Q(state="held"), name="held_parts"),
        ]

    def __str__(self) -> str:
        return f"{self.label} in run {self.run_id}"


class RunLog(models.Model):
    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="log")
    at = models.DateTimeField(auto_now_add=True)
    level = models.CharField(max_length=8, default="info")
    target = models.CharField(max_length=64, blank=True)
    message = RedactedTextField()

    class Meta:
        ordering: ClassVar = ["run", "id"]

    def __str__(self) -> str:
        return str(self.message)


class Lease(models.Model):
    """The right to run a sync and to publish. Judged by the database's clock alone."""

    sync = models.CharField(max_length=64, primary_key=True)
    token = models.BigIntegerField(default=0, help_text="another one for each holder, by chance")
    run = models.ForeignKey(
        SyncRun, null=True, on_delete=models.SET_NULL, related_name="+", db_constraint=False
    )
    expires_at = models.DateTimeField(null=True)
    renewed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"lease of {self.sync}"


class Confirmation(models.Model):
    """When a sync last proved a target's rows equal to their source."""

    sync = models.CharField(max_length=64)
    target = models.CharField(max_length=64)
    at = models.DateTimeField(help_text="own database's clock just before the snapshot opened")
    run = models.ForeignKey(SyncRun, null=True, on_delete=models.SET_NULL, related_name="+")
    rows = models.BigIntegerField(default=0)
    basis = models.CharField(
        max_length=500, blank=True, help_text="what the stored digests were computed from"
    )
    tables = models.JSONField(null=True, help_text="what the names in its query meant there")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sync", "target"], name="one_confirmation_per_target"),
        ]

    def __str__(self) -> str:
        return f"{self.sync} of {self.target} at {self.at:%Y-%m-%d %H:%M:%S} UTC"


class WithheldRow(models.Model):
    """A source row that can't be stored: its id, its hash and the reason."""

    sync = models.CharField(max_length=64)
    target = models.CharField(max_length=64)
    source_id = models.TextField()
    row_hash = models.BigIntegerField()
    reason = models.CharField(max_length=255)
    since = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["sync", "target", "id"], name="withheld_of_a_target")
        ]

    def __str__(self) -> str:
        return f"{self.source_id}: {self.reason}"


class HeldChange(models.Model):
    """One change of the set that a guard held."""

    class Kind(models.TextChoices):
        REMOVED = "removed"
        MOVED = "moved"
        CHANGED = "changed"
        LOWERED = "lowered"

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="held_changes")
    target = models.CharField(max_length=64)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    source_id = models.TextField()
    detail = models.TextField(blank=True)
    # Null: it is about no tenant, or was held by a version that did not store which.
    tenant_instance = models.TextField(null=True)  # noqa: DJ001
    tenant = models.TextField(null=True)  # noqa: DJ001

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["run", "target", "kind", "id"], name="held_by_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.source_id}"


class BucketDigest(models.Model):
    """Count, xor and sum of the row hashes of one bucket of source ids."""

    sync = models.CharField(max_length=64)
    target = models.CharField(max_length=64)
    bucket = models.IntegerField()
    rows = models.BigIntegerField()
    xor = models.BigIntegerField()
    sum = models.BigIntegerField(help_text="of the hashes' higher halves")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["sync", "target", "bucket"], name="one_digest_per_bucket"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sync} of {self.target}, bucket {self.bucket}"


class SyncSchedule(models.Model):
    """What RAINBO stores of a sync's schedule, next to the row of django-q that fires."""

    schedule = models.OneToOneField(
        "django_q.Schedule", on_delete=models.CASCADE, related_name="sync_schedule"
    )
    sync = models.CharField(max_length=64, unique=True)
    options = models.JSONField(default=dict, blank=True)
    grace_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="how late a run may end; empty: the usual grace"
    )
    paused_since = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True)
    pause_reason = models.CharField(max_length=255, blank=True)
    paused_by = models.CharField(max_length=150, blank=True)
    note = models.TextField(blank=True)
    planned_since = models.DateTimeField(
        db_default=Now(), help_text="when its frequency was set or it was switched on or off"
    )
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.CharField(max_length=150, blank=True)

    class Meta:
        verbose_name = "schedule"
        permissions: ClassVar = [("run_sync", "Can run and cancel syncs")]

    def __str__(self) -> str:
        return f"schedule of {title_of(self.sync)}"

    def is_paused(self, now: datetime) -> bool:
        """Whether the schedule is paused; a pause ends by itself."""
        return self.paused_until is not None and self.paused_until > now

    def rests(self, slot: datetime, now: datetime) -> bool:
        """Whether this slot is skipped; a slot within a pause is, even after the pause ended."""
        if self.paused_since is None or self.paused_until is None:
            return self.is_paused(now)
        return self.is_paused(now) or self.paused_since <= slot < self.paused_until


class Heartbeat(models.Model):
    """A worker's last heartbeat."""

    worker = models.CharField(max_length=255, primary_key=True)
    at = models.DateTimeField()
    keys = models.JSONField(
        null=True, help_text="digests of the keys in its RAINBO_CREDENTIAL_KEYS, the newest first"
    )

    def __str__(self) -> str:
        return self.worker


class Periodic(models.Model):
    """When a function that runs periodically was last claimed by a process."""

    name = models.CharField(max_length=255, primary_key=True)
    claimed_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class WorkerEvent(models.Model):
    """A restart of the workers by their supervisor, and why."""

    at = models.DateTimeField(db_default=Now())
    host = models.CharField(max_length=255)
    message = RedactedTextField()

    class Meta:
        verbose_name = "worker event"
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return str(self.message)
