from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.db.models.signals import post_migrate


class AlertsConfig(AppConfig):
    name = "alerts"
    verbose_name = "Alerts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from alerts.channel_problems import CHANNELS
        from alerts.models import Channel
        from common import key_rotation
        from common.later import later
        from syncs import hooks
        from syncs.status import problems

        key_rotation.register(Channel, "address")
        key_rotation.register(Channel, "signing")
        hooks.periodic(60, later("alerts.tick.tick"))
        hooks.run_closed.connect(later("alerts.tick.after_run"))
        hooks.message_requested.connect(later("alerts.requested_mail.store"))
        problems.register(CHANNELS)
        post_migrate.connect(_add_rules, sender=self, dispatch_uid="rules of alerts")


def _add_rules(using: str, apps: Any = installed, **_: object) -> None:
    """A row for each rule of the code, for the console to change."""
    from alerts.rules import RULES

    try:
        rows = apps.get_model("alerts", "Rule").objects.using(using)
    except LookupError:  # migrated to a time before this table
        return
    known = set(rows.values_list("name", flat=True))
    new = [rule for rule in RULES.values() if rule.name not in known]
    rows.bulk_create(rows.model(name=rule.name, enabled=rule.enabled) for rule in new)
