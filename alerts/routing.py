"""Which channels an incident is reported on. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.models import Channel, Incident
from syncs.hooks import TargetGroup

NO_GROUP = TargetGroup()


def needs_groups(channel: Channel) -> bool:
    """Whether it takes the incidents of some groups or labels only."""
    return bool(channel.groups or channel.labels)


def is_for(channel: Channel, incident: Incident, groups: Mapping[str, TargetGroup]) -> bool:
    """Whether the channel takes it. What is about no sync or instance alone is for all channels.

    groups: of instances, by their keys. One instance that the channel is for is enough. That a
    channel is failing is reported on the others: it would not arrive on itself.
    """
    if not channel.is_usable or incident.level > channel.level:
        return False
    if incident.link_kind == "channel" and incident.link_key == str(channel.pk):
        return False
    kind, _, rest = incident.key.partition("/")
    if kind == "sync" and channel.syncs and rest.partition("/")[0] not in channel.syncs:
        return False
    affected = [key for key in incident.affected if key.isdecimal()]  # others are connections
    return not affected or any(
        _is_for_instance(channel, key, groups.get(key, NO_GROUP)) for key in affected
    )


def _is_for_instance(channel: Channel, key: str, of: TargetGroup) -> bool:
    if channel.instances and key not in map(str, channel.instances):
        return False
    if channel.groups and of.group not in channel.groups:
        return False
    return not channel.labels or not of.labels.isdisjoint(channel.labels)
