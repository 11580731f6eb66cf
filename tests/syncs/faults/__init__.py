"""Faults of workers, on real processes: an installation with syncs of its own, to break."""
