"""The console's pages of users and groups. What is done to them is recorded."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from activity.changes import Reading, reading
from activity.log import record
from activity.recorded_admin import Recorded
from common.model_admin import StrictUrls
from rainbo.auth import second_factor_views
from rainbo.auth.backends import needs_second_factor
from rainbo.auth.roles import ROLES, meanings_of
from rainbo.auth.sign_in_form import SignInForm
from rainbo.models import Authenticator, RecoveryCodes
from tenants.ghosts.policy import admins

MARKS = ("is_active", "is_staff", "is_superuser")
GIVES_ACCESS = frozenset({"groups", "user_permissions", "is_superuser"})
ACCESS = "A role lets a person sign in to the console. Without one, the sign-in says so."
VALUES = ("username", "email", "first_name", "last_name", *MARKS)

admin.site.login_form = SignInForm
admin.site.unregister(User)
admin.site.unregister(Group)


class RoleField(forms.ModelMultipleChoiceField[Group]):
    """Each group with what its permissions mean, as more than what another group may."""

    def label_from_instance(self, group: Any) -> str:
        held = self._held[group.name]
        less = [name for name, other in self._held.items() if other and other < held]
        base = max(less, key=lambda name: len(self._held[name]), default="")
        known = meanings_of(self._held[base]) if base else []
        more = [meaning for meaning in meanings_of(held) if meaning not in known]
        may = "; ".join([*([f"what {base} may"] if base else []), *more]) or "nothing yet"
        return format_html('{} <span class="quiet">may {}</span>', group.name, may)

    @cached_property
    def _held(self) -> dict[str, frozenset[str]]:
        """The permissions of each group."""
        return {
            group.name: frozenset(
                f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all()
            )
            for group in Group.objects.prefetch_related("permissions__content_type")
        }


class Ticked:
    """Groups and permissions as lists to tick. Offered is what the console asks for."""

    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
        if db_field.remote_field.model is Group:
            kwargs["form_class"] = RoleField
        if db_field.remote_field.model is Permission:
            kwargs["queryset"] = _offered()
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]


class StaffByRole:
    """Goes after Recorded among the bases. Who is given a role may sign in to the console."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)  # type: ignore[misc]
        user = form.instance
        if GIVES_ACCESS.isdisjoint(form.changed_data) or user.is_staff:
            return
        if user.is_superuser or user.groups.exists() or user.user_permissions.exists():
            user.is_staff = True
            user.save(update_fields=["is_staff"])


@admin.register(User)
class UserAdmin(StrictUrls, Ticked, Recorded, StaffByRole, DjangoUserAdmin[User], ModelAdmin):
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "groups", "is_superuser"), "description": ACCESS}),
        ("Times", {"fields": ("last_login", "date_joined")}),
        ("Single permissions", {"classes": ("collapse",), "fields": ("user_permissions",)}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "password1", "password2")}),
        ("Access", {"fields": ("groups",), "description": ACCESS}),
    )
    thing = "user"
    switch, switched_on, switched_off = "is_active", "activated", "deactivated"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    change_form_outer_before_template = "rainbo/person_tools.html"
    list_per_page = 50
    list_display = (
        "username",
        "name",
        "email",
        "roles",
        "is_active",
        "may_impersonate",
        "second_factor",
    )
    list_filter = ("is_active", "is_superuser", "groups")

    def facts(self, row: User) -> Reading:
        return reading(row, VALUES) | {
            "groups": sorted(row.groups.values_list("name", flat=True)),
            "permissions": _names(row.user_permissions),
        }

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Annotate whether each may impersonate (superusers may) and uses 2FA."""
        users: Any = super().get_queryset(request)
        found: QuerySet[User] = users.annotate(
            impersonates=Exists(admins().filter(pk=OuterRef("pk"))),
            has_second_factor=Exists(Authenticator.objects.filter(user=OuterRef("pk"))),
            needs_second_factor=needs_second_factor(),
            group_names=ArraySubquery(
                Group.objects.filter(user=OuterRef("pk")).order_by("name").values("name")
            ),
            has_single_permissions=Exists(Permission.objects.filter(user=OuterRef("pk"))),
        )
        return found

    def get_custom_urls(self) -> Any:
        view = second_factor_views.reset_view
        return (("<int:pk>/reset-second-factor/", "auth_user_reset_second_factor", view),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Only a superuser makes superusers."""
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, "is_superuser")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_touch(request, obj) and bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_touch(request, obj) and bool(super().has_delete_permission(request, obj))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> Any:  # noqa: A002
        response = super().user_change_password(request, id, form_url)
        if request.method == "POST" and response.status_code == 302:
            record(request, "user.password_changed", self.get_object(request, id) or id)
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        user = kwargs.get("obj")
        if user is not None and second_factor_views.may_reset(request, user):
            codes = RecoveryCodes.of(user)
            context |= {
                "resettable": user.has_second_factor,
                "codes_left": len(codes.digests) if codes else 0,
                "must": user.needs_second_factor,
            }
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    @admin.display(description="name", ordering="last_name")
    def name(self, user: User) -> str:
        return user.get_full_name() or "–"

    @admin.display(description="roles")
    def roles(self, user: Any) -> str:
        """Why this person may do what they may; no role, no sign-in."""
        held = [*(["superuser"] if user.is_superuser else []), *user.group_names]
        held += ["single permissions"] if user.has_single_permissions else []
        return ", ".join(held) or "none"

    @admin.display(description="may impersonate", boolean=True)
    def may_impersonate(self, user: Any) -> bool:
        return bool(user.impersonates)

    @admin.display(description="two-factor", boolean=True)
    def second_factor(self, user: Any) -> bool:
        return bool(user.has_second_factor)


@admin.register(Group)
class GroupAdmin(StrictUrls, Ticked, Recorded, DjangoGroupAdmin, ModelAdmin):
    filter_horizontal = ()
    thing = "group"

    def facts(self, row: Group) -> Reading:
        return {"name": row.name, "permissions": _names(row.permissions)}


def _offered() -> QuerySet[Permission]:
    """What a role may have, and what a user was given in addition: saving takes nothing away."""
    known = {name for names in ROLES.values() for name in names}
    wanted = Q(pk__in=Group.permissions.through.objects.values("permission_id"))
    wanted |= Q(pk__in=User.user_permissions.through.objects.values("permission_id"))
    for app, _, codename in (name.partition(".") for name in known):
        wanted |= Q(content_type__app_label=app, codename=codename)
    return Permission.objects.filter(wanted).select_related("content_type")


def _names(permissions: Any) -> list[str]:
    rows = permissions.values_list("content_type__app_label", "codename")
    return sorted(f"{app}.{codename}" for app, codename in rows)


def _may_touch(request: HttpRequest, user: Any) -> bool:
    """A superuser's account is a superuser's business: its password would make a superuser."""
    return user is None or request.user.is_superuser or not user.is_superuser
