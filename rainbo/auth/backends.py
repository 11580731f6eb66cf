"""Who signs in: Django's users, each fetched with what every request asks about them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, Value

from rainbo.models import Authenticator

User = get_user_model()
EVERYBODY = "all"


class PeopleBackend(ModelBackend):
    """Adds, in the same query: has_second_factor, needs_second_factor."""

    def get_user(self, user_id: Any) -> Any:
        found = User.objects.annotate(
            has_second_factor=Exists(Authenticator.objects.filter(user=OuterRef("pk"))),
            needs_second_factor=needs_second_factor(),
        )
        user = found.filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None


def needs_second_factor() -> Any:
    """Whether RAINBO_REQUIRE_MFA names a group of the user; superusers count as of every group."""
    names = settings.RAINBO_REQUIRE_MFA
    if not names or EVERYBODY in names:
        return Value(bool(names), output_field=BooleanField())
    named = Group.objects.filter(user=OuterRef("pk"), name__in=names)
    return ExpressionWrapper(Q(is_superuser=True) | Exists(named), output_field=BooleanField())
