"""Every recorded action as text: an entry reads "ann disabled an instance"."""

from __future__ import annotations

ACTIONS: dict[str, str] = {
    "person.signed_in": "signed in",
    "person.signed_out": "signed out",
    "person.sign_in_failed": "failed to sign in",
    "person.locked_out": "was locked out",
    "person.session_ended": "was signed out by a limit",
    "person.second_factor_enrolled": "set up two-factor authentication",
    "person.second_factor_passed": "passed two-factor authentication",
    "person.second_factor_failed": "failed two-factor authentication",
    "person.second_factor_removed": "removed their two-factor authentication",
    "person.second_factor_reset": "reset two-factor authentication",
    "person.recovery_codes_renewed": "made new recovery codes",
    "run.requested": "requested a run",
    "run.cancelled": "cancelled a run",
    "run.accepted": "accepted what a run holds",
    "run.discarded": "discarded what a run holds",
    "run.retried": "retried what failed in a run",
    "run.exported": "took rows of a run as a file",
    "runs.pruned": "deleted records of old runs",
    "schedule.added": "added a schedule",
    "schedule.changed": "changed a schedule",
    "schedule.enabled": "switched a schedule on",
    "schedule.disabled": "switched a schedule off",
    "schedule.paused": "paused a schedule",
    "schedule.resumed": "resumed a schedule",
    "schedule.deleted": "deleted a schedule",
    "instance.registered": "registered an instance",
    "instance.changed": "changed an instance",
    "instance.enabled": "enabled an instance",
    "instance.disabled": "disabled an instance",
    "instance.deleted": "deleted an instance",
    "instance.tested": "tested an instance's connection",
    "tenant.read_live": "read a tenant live",
    "email.looked_up_live": "looked an e-mail up live",
    "user.created": "created a user",
    "user.changed": "changed a user",
    "user.activated": "activated a user",
    "user.deactivated": "deactivated a user",
    "user.deleted": "deleted a user",
    "user.password_changed": "changed a password",
    "group.created": "created a group",
    "group.changed": "changed a group",
    "group.deleted": "deleted a group",
    "token.created": "made an API token",
    "token.rotated": "rotated an API token",
    "token.revoked": "revoked an API token",
    "activity.exported": "exported the activity",
    "action.refused": "tried what is not allowed",
}


def describe(action: str) -> str:
    """The action as a person says it; one that the code no longer knows, as it was recorded."""
    return ACTIONS.get(action, action)
