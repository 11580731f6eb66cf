from syncs.engine import registry
from syncs.management.base import SyncCommand


class Command(SyncCommand):
    help = "Run all syncs in the order of their dependencies."
    syncs = tuple(sync.name for sync in registry.scheduled_syncs())
    force = "also read tenants that were confirmed less than half a period ago, and all routes"
