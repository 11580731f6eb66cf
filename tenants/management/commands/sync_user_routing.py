from syncs.management.base import SyncCommand


class Command(SyncCommand):
    help = "Sync the cached routes from the master's e-mail directory."
    syncs = ("user_routing",)
    offers = frozenset({"accept_held"})
    force = "read the whole directory, not only what differs from the last publish"
