from syncs.management.base import SyncCommand


class Command(SyncCommand):
    help = "Make the cached routes equal to the master's directory of e-mails."
    syncs = ("user_routing",)
    offers = frozenset({"accept_held"})
    force = "read all of the directory, not only what differs from the last publish"
