from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.caches import register
from tests.instances import Instance, InstanceFleet
from tests.rows import staff


@pytest.fixture
def registered(fleet: InstanceFleet, transactional_db: None) -> InstanceFleet:
    """Three instances as new, known to RAINBO; the first is the master."""
    for instance in fleet.instances:
        register(instance)
    return fleet


@pytest.fixture
def master(registered: InstanceFleet) -> Instance:
    return registered.master


@pytest.fixture
def person(client: Client) -> Callable[..., User]:
    """Signs in a staff user with the named permissions."""

    def sign_in(*codenames: str, name: str = "ann") -> User:
        user = staff(name)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return user

    return sign_in
