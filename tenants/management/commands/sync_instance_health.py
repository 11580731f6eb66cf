from tenants.management.base import InstanceSyncCommand


class Command(InstanceSyncCommand):
    help = "Check which instances answer, how fast, and in what state."
    syncs = ("instance_health",)
    offers = frozenset({"failed_from"})
