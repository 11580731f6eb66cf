"""The shapes of the API's documents, for its description; `reports` makes the documents.

The views return those as they are: that they have these shapes is what the tests check.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field

from integrations.due import State as ConnectionState
from syncs.models import HeldChange, RunState, TargetState, Trigger
from syncs.status.freshness import State
from tenants.models.instance import Health

Key = Annotated[str, Field(pattern=r"^[0-9A-Za-z/_-]{1,64}$")]
Name = Annotated[str, Field(max_length=64)]
ConnectionKey = Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)]


class Request(Schema):
    model_config = ConfigDict(extra="forbid")


class RunRequest(Request):
    """What a run should do."""

    instances: list[Key] = Field(
        default=[], max_length=1000, description="ids of the instances to sync; none: all"
    )
    force: bool = Field(default=False, strict=True, description="don't skip what is fresh")
    dry_run: bool = Field(
        default=False, strict=True, description="show what would change; write nothing"
    )


class FetchRequest(Request):
    """Which connections of a service should be fetched."""

    connections: list[ConnectionKey] = Field(
        default=[], max_length=1000, description="ids of connections; none: all of the service"
    )
    force: bool = Field(
        default=False, strict=True, description="also what was fetched a moment ago, and in full"
    )
    dry_run: bool = Field(
        default=False, strict=True, description="show what would change; write nothing"
    )


class PauseRequest(Request):
    until: datetime = Field(description="when the pause ends by itself, with its zone")
    reason: str = Field(min_length=1, max_length=255, description="shown to other users")


class AcknowledgeRequest(Request):
    until: datetime | None = Field(default=None, description="until when; none: until its end")


class MuteRequest(Request):
    until: datetime = Field(description="when it ends by itself, with its zone")
    reason: str = Field(min_length=1, max_length=255, description="shown to other users")


class Discarded(Schema):
    at: datetime
    by: str
    reason: str


class RunSummary(Schema):
    run: int
    sync: str
    state: RunState
    trigger: Trigger
    actor: str
    options: dict[str, Any]
    slot: datetime | None
    attempt: int
    not_before: datetime | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    error: str
    met_run: int | None = Field(description="the run that was in progress when this was skipped")
    discarded: Discarded | None


class TargetPart(Schema):
    target: str
    label: str
    state: TargetState
    read: int | None
    added: int | None
    changed: int | None
    removed: int | None
    withheld: int | None
    seconds: float | None
    note: str
    error: str


class RunDocument(RunSummary):
    targets: list[TargetPart]
    rolled_up: dict[TargetState, int] = Field(
        description="how many more there were, that are no longer listed, by state"
    )
    retry: str = Field(description="the command that retries what failed; empty: nothing failed")
    accept: str
    discard: str


class RequestedRun(RunDocument):
    joined: bool = Field(description="an earlier request had asked for the same run")


class RunPage(Schema):
    runs: list[RunSummary]
    next: str | None = Field(description="the address of the next page")


class LogLine(Schema):
    id: int
    at: datetime
    level: str
    target: str
    message: str


class LogPage(Schema):
    lines: list[LogLine]
    next: str | None


class HeldLine(Schema):
    id: int
    target: str
    kind: HeldChange.Kind
    source_id: str
    detail: str
    tenant_instance: str | None = Field(description="the id of its instance, or null as `tenant`")
    tenant: str | None = Field(description="as it is before a move; null: unknown, or none")


class HeldPage(Schema):
    changes: list[HeldLine]
    next: str | None


class Reason(Schema):
    cause: str
    words: str


class Last(Schema):
    model_config = ConfigDict(extra="allow")

    run: int


class FreshTarget(Schema):
    target: str
    label: str
    state: State
    confirmed_at: datetime | None
    age_seconds: float | None
    late_at: datetime | None
    stale_at: datetime | None
    reason: Reason | None


class ScheduleState(Schema):
    cron: str
    off: bool
    paused_until: datetime | None
    pause_reason: str


class SyncDocument(Schema):
    sync: str
    title: str
    state: State
    reason: Reason | None
    schedules: list[ScheduleState]
    next_slot: datetime | None
    usual_seconds: float
    last_run: Last | None
    running: Last | None
    targets: list[FreshTarget]


class Worker(Schema):
    last_heartbeat: datetime | None
    silent: bool


class SyncList(Schema):
    now: datetime
    syncs: list[SyncDocument]


class FreshnessDocument(Schema):
    now: datetime
    state: State
    worker: Worker
    syncs: list[SyncDocument]


class LinkDocument(Schema):
    kind: str
    key: str


class ProblemEntry(Schema):
    key: str
    severity: str
    cause: str
    text: str
    link: LinkDocument
    affected: list[str]


class ProblemList(Schema):
    now: datetime
    problems: list[ProblemEntry] = Field(description="the most severe first")


class InstanceDocument(Schema):
    id: int
    name: str
    is_active: bool
    is_master: bool
    health: Health
    last_check_at: datetime | None
    latency_ms: float | None
    last_error: str
    server_version: str
    is_replica: bool | None
    replica_lag_seconds: float | None
    schema_group: str
    has_tenants: bool
    has_ghosts: bool
    group: str
    labels: list[str]
    certificate_ends_at: datetime | None
    ca_ends_at: datetime | None


class InstanceList(Schema):
    instances: list[InstanceDocument]


class TenantDocument(Schema):
    instance: int
    tenant: str = Field(description="its id on the instance")
    name: str
    status: str
    contact_name: str | None = None
    contact_email: str | None = None
    trial_ends_at: datetime | None
    subscription_started_at: datetime | None
    user_count: int | None
    location_count: int | None
    last_activity_at: datetime | None
    refreshed_at: datetime
    vanished_at: datetime | None


class TenantPage(Schema):
    tenants: list[TenantDocument]
    next: str | None


class FindDocument(Schema):
    model_config = ConfigDict(extra="allow")

    email: str
    key: str
    found: bool
    cache: dict[str, Any]
    routes: list[dict[str, Any]]
    withheld: list[dict[str, Any]]
    removals: list[dict[str, Any]]
    why: list[str]


class ScheduleDocument(Schema):
    sync: str
    title: str
    cron: str | None
    rhythm: str | None
    off: bool | None
    paused_until: datetime | None
    pause_reason: str
    next_slot: datetime | None
    last_run: Last | None
    running: Last | None
    retry: dict[str, Any] | None


class ScheduleList(Schema):
    now: datetime
    schedules: list[ScheduleDocument]


class ConnectionDocument(Schema):
    connection: int
    service: str
    name: str
    owner: str
    state: str = Field(json_schema_extra={"enum": [*map(str, ConnectionState)]})
    due: bool
    why: str
    next_at: datetime | None = Field(description="null: that is up to a person, or a run has it")
    update_frequency_minutes: int
    last_triggered_at: datetime | None
    last_successful_update_at: datetime | None
    attempt: int
    last_error: str
    records: int
    withheld: int


class ConnectionPage(Schema):
    now: datetime
    connections: list[ConnectionDocument]
    next: str | None


class ServiceDocument(Schema):
    service: str
    title: str
    connections: int
    due: int
    states: dict[str, int] = Field(description="connections in each state")
    next_at: datetime | None = Field(description="when the next of them is due")
    records: int
    withheld: int


class ServiceList(Schema):
    now: datetime
    services: list[ServiceDocument]


class Cancelled(Schema):
    run: int
    result: Literal["cancelled", "asked", "abandoned"] = Field(
        description="abandoned: its process no longer answered, and it is cancelled"
    )
    state: RunState
    detail: str


class AffectedCounts(Schema):
    """null: it is not known."""

    people: int | None
    instances: int | None
    connections: int | None
    tenants: int | None = Field(description="on the instances, as these last confirmed them")
    at_least: bool = Field(description="the number of tenants of some instances is not known")


class Incident(Schema):
    incident: int
    key: str = Field(description="the same for the same problem, whenever it comes")
    rule: str
    level: Literal["urgent", "warning", "notice"]
    title: str
    text: str
    affected: list[str]
    affected_counts: AffectedCounts
    since: datetime
    opened_at: datetime | None
    last_seen_at: datetime
    resolved_at: datetime | None
    acknowledged_by: str
    acknowledged_until: datetime | None
    muted_until: datetime | None
    mute_reason: str
    cause: int | None = Field(description="the incident that explains it")
    came_back: int
    command: str


class IncidentList(Schema):
    evaluated_at: datetime | None = Field(
        description="when incidents were evaluated last; what is listed is as old"
    )
    incidents: list[Incident]


class IncidentPage(Schema):
    incidents: list[Incident]
    next: str | None
