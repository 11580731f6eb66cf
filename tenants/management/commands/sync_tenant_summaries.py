from tenants.management.base import InstanceSyncCommand


class Command(InstanceSyncCommand):
    help = "Sync the cached tenants, with status and counts, from the instances."
    syncs = ("tenant_summaries",)
    offers = frozenset({"accept_held", "failed_from"})
    force = "also read instances that were confirmed less than half a period ago"
