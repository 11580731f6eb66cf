from syncs.engine import registry
from syncs.management.base import SyncCommand


class Command(SyncCommand):
    help = "Run every sync in the order in which they depend on each other."
    syncs = tuple(sync.name for sync in registry.all_syncs())
    force = "also read tenants that were confirmed less than half a period ago, and all routes"
