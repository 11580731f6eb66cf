"""Who signs in: Django's users, each fetched with what every request asks about them."""

from __future__ import annotations

from functools import reduce
from operator import or_
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
    """Whether RAINBO_REQUIRE_MFA names a group of the user; superusers count as of every group.

    Where it names a group that doesn't exist, nobody knows who was meant: then everybody needs one.
    """
    names = settings.RAINBO_REQUIRE_MFA
    if not names or EVERYBODY in names:
        return Value(bool(names), output_field=BooleanField())
    named = Group.objects.filter(user=OuterRef("pk"), name__in=names)
    missing = [Q(~Exists(Group.objects.filter(name=name))) for name in names]
    needed = reduce(or_, missing, Q(is_superuser=True) | Q(Exists(named)))
    return ExpressionWrapper(needed, output_field=BooleanField())
