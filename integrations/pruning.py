"""What goes of connected services some time after it was needed last."""

from __future__ import annotations

from integrations.models import AuthorizationRequest, ExternalRecord, RecordChange
from syncs.engine.pruning import Rule, older, register

register(
    Rule(
        "records that are gone",
        ("integrations.ExternalRecord", "integrations.RecordChange"),
        "RAINBO_GONE_RECORD_DAYS",
        "the reading that no longer had the record; with its changes",
        older(ExternalRecord, "gone_at"),
    ),
    Rule(
        "changes of records",
        ("integrations.RecordChange",),
        "RAINBO_RECORD_CHANGE_RETENTION_DAYS",
        "the change",
        older(RecordChange, "at"),
    ),
    Rule(
        "authorization requests",
        ("integrations.AuthorizationRequest",),
        "",
        "10 minutes after it was made, if it was not used",
        older(AuthorizationRequest, "expires_at"),
    ),
)
