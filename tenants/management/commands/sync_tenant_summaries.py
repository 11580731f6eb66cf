from tenants.management.base import InstanceSyncCommand


class Command(InstanceSyncCommand):
    help = "Make the cached tenants, their status and counts, equal to the instances'."
    syncs = ("tenant_summaries",)
    offers = frozenset({"accept_held", "failed_from"})
    force = "also read instances that were confirmed less than half a period ago"
