"""The console's pages of alerts: incidents, channels and rules."""

from alerts.admin import channels, incidents, rules  # noqa: F401 (they register themselves)
