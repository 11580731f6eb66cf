"""What to do about an incident of each rule: a command line, and what it shows."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.models import Incident
from common import manage_command

# {key}: of the incident's link, such as a run's id; without one, the alternative is given.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "leaver": ("sync_ghost_users", "sync_ghost_users"),
    "support_forged": ("support_keys rotate --at-once", "support_keys rotate --at-once"),
    "workers_dead": ("worker_health", "worker_health"),
    "queue_stalled": ("worker_health", "worker_health"),
    "no_master": ("check_fleet", "check_fleet"),
    "instance_down": ("check_fleet --rds {instance}", "check_fleet"),
    "credentials_refused": ("check_fleet --rds {instance}", "check_fleet"),
    "degraded": ("check_fleet --rds {instance}", "check_fleet"),
    "replica_lag": ("check_fleet --rds {instance}", "check_fleet"),
    "certificate_ends": ("sync_instance_health --rds {instance}", "sync_instance_health"),
    "token_ends": ("api_token list", "api_token list"),
    "missed": ("schedule_list", "schedule_list"),
    "paused": ("schedule_list", "schedule_list"),
    "channel_failing": ("alert_test {channel}", "alert_list"),
}
USUAL = ("rainbo_status", "rainbo_status")


def command(incident: Incident) -> str:
    """The command line to begin with, as this installation runs commands."""
    with_key, without = COMMANDS.get(incident.rule, USUAL)
    known = {incident.link_kind: incident.link_key} if incident.link_key else {}
    try:
        return manage_command.line(with_key.format_map(known))
    except KeyError:
        return manage_command.line(without)
