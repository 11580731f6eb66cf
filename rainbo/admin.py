"""The console: Django's users and groups in its theme, and none of the queue's own pages."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django_q import admin as queue_admin  # noqa: F401 (registers what is taken back here)
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from tenants.ghosts import admins

admin.site.unregister(User)
admin.site.unregister(Group)

# In the queue's pages a person could make a worker call any function of any module.
admin.site.unregister(
    [
        model
        for model in apps.get_app_config("django_q").get_models()
        if admin.site.is_registered(model)
    ]
)


@admin.register(User)
class UserAdmin(DjangoUserAdmin[User], ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        "username",
        "email",
        "first_name",
        "last_name",
        "is_staff",
        "is_active",
        "is_superuser",
        "may_impersonate",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Each with whether it may impersonate; superusers may."""
        users: Any = super().get_queryset(request)
        found: QuerySet[User] = users.annotate(
            impersonates=Exists(admins().filter(pk=OuterRef("pk")))
        )
        return found

    @admin.display(description="may impersonate", boolean=True)
    def may_impersonate(self, user: Any) -> bool:
        return bool(user.impersonates)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass
