"""The console: users and groups as RAINBO wants them, and none of the queue's own pages."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin
from django_q import admin as queue_admin  # noqa: F401 (registers what is taken back here)

from rainbo.auth.admin import GroupAdmin, UserAdmin  # noqa: F401 (register their pages)

# In the queue's pages a person could make a worker call any function of any module.
admin.site.unregister(
    [
        model
        for model in apps.get_app_config("django_q").get_models()
        if admin.site.is_registered(model)
    ]
)
