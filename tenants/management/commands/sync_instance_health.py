from tenants.management.base import InstanceSyncCommand


class Command(InstanceSyncCommand):
    help = "Check the availability, latency and state of the instances."
    syncs = ("instance_health",)
    offers = frozenset({"failed_from"})
