"""The people of the demo. Run inside RAINBO by `manage.py shell`; the password is in the
environment and new at every start."""

from __future__ import annotations

import os

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

User = get_user_model()
password = os.environ["DEMO_PASSWORD"]
second_factor = bytes.fromhex(os.environ["DEMO_SECOND_FACTOR"])

admin, _ = User.objects.get_or_create(username="admin")
admin.email = "admin@example.com"
admin.is_active = admin.is_staff = admin.is_superuser = True
admin.set_password(password)
admin.save()

PEOPLE = (
    ("support", "Sam", "Support", "support_admin"),
    ("billing", "Bea", "Billing", "billing_admin"),
    ("reader", "Rea", "Reader", "read_only"),
    ("leaver", "Lee", "Leaver", "support_admin"),
)
for name, first, last, role in PEOPLE:
    user, new = User.objects.get_or_create(
        username=name,
        defaults={
            "email": f"{name}@example.com",
            "first_name": first,
            "last_name": last,
            "is_staff": True,
        },
    )
    if not user.groups.exists():
        user.groups.set(Group.objects.filter(name=role))
        user.user_permissions.clear()  # a demo of before there were roles gave them one by one
    if name != "leaver":
        user.set_password(password)
    elif new:
        user.set_unusable_password()
    user.save()

Authenticator = apps.get_model("rainbo", "Authenticator")
support = User.objects.get(username="support")
if Authenticator.of(support) is None:
    authenticator = Authenticator(user=support, name="make demo")
    authenticator.set_secret(second_factor)
    authenticator.save()
