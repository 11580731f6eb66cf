"""Which channels an incident is reported on. Pure."""

from __future__ import annotations

from alerts.models import Channel, Incident


def is_for(channel: Channel, incident: Incident) -> bool:
    """Whether the channel takes it. What is about no sync or instance alone is for all channels.

    That a channel is failing is reported on the others: it would not arrive on itself.
    """
    if not channel.is_usable or incident.level > channel.level:
        return False
    if incident.link_kind == "channel" and incident.link_key == str(channel.pk):
        return False
    kind, _, rest = incident.key.partition("/")
    if kind == "sync" and channel.syncs and rest.partition("/")[0] not in channel.syncs:
        return False
    instances = {str(key) for key in channel.instances}
    return not (instances and incident.affected and instances.isdisjoint(incident.affected))
