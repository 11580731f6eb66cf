"""The console's pages of runs and schedules."""

from syncs.admin import runs, schedules  # noqa: F401 (they register themselves)
