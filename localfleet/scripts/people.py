"""The people of the demo. Run inside RAINBO by `manage.py shell`; the password is in the
environment and new at every start."""

from __future__ import annotations

import os

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Q

User = get_user_model()
password = os.environ["DEMO_PASSWORD"]

admin, _ = User.objects.get_or_create(username="admin")
admin.email = "admin@example.com"
admin.is_active = admin.is_staff = admin.is_superuser = True
admin.set_password(password)
admin.save()

may_look = Q(codename__startswith="view_", content_type__app_label__in=["tenants", "syncs"])
may_enter = Q(codename="impersonate", content_type__app_label="tenants")
for name, first, last in (("support", "Sam", "Support"), ("leaver", "Lee", "Leaver")):
    user, new = User.objects.get_or_create(
        username=name,
        defaults={
            "email": f"{name}@example.com",
            "first_name": first,
            "last_name": last,
            "is_staff": True,
        },
    )
    if new:
        user.user_permissions.set(Permission.objects.filter(may_look | may_enter))
    if name == "support":
        user.set_password(password)
    elif new:
        user.set_unusable_password()
    user.save()
