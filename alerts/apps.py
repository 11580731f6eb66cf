from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "alerts"
    verbose_name = "Alerts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from alerts import tick
        from alerts.channel_problems import CHANNELS
        from alerts.models import Channel
        from common import key_rotation
        from syncs import hooks
        from syncs.status import problems

        key_rotation.register(Channel, "address")
        key_rotation.register(Channel, "signing")
        hooks.periodic(tick.INTERVAL, tick.tick)
        hooks.run_closed.connect(tick.after_run)
        problems.register(CHANNELS)
