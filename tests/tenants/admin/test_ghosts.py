"""The console's pages of ghost users."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tenants.admin.ghosts import CONFIRMED_TONES, WANTED_TONES
from tenants.models import GhostUser, RdsInstance
from tenants.models.ghost import GhostState
from tests.pages import text_of
from tests.rows import instance_row, staff

PAGES = "/admin/tenants/ghostuser/"
LIST = f"{PAGES}all/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def instance() -> RdsInstance:
    return instance_row(2)


def ghost(instance: RdsInstance, admin_id: int, **fields: Any) -> GhostUser:
    known = {"wanted": GhostState.ACTIVE, "confirmed": GhostState.ACTIVE}
    return GhostUser.objects.create(instance=instance, admin_id=admin_id, **known | fields)


def test_every_state_has_a_tone() -> None:
    assert set(CONFIRMED_TONES) == set(GhostState.values)
    wanted = GhostUser._meta.get_field("wanted").choices or ()
    assert set(WANTED_TONES) == {value for value, _ in wanted}


def test_the_list_shows_whose_ghost_is_where(admin_client: Client, instance: RdsInstance) -> None:
    ann = staff("ann")
    ghost(instance, ann.pk, confirmed_at=timezone.now(), remote_id="u-77", last_error="in the way")
    shown = text_of(admin_client.get(LIST))
    for expected in (f"ann ({ann.pk})", "instance 2 (rds2)", "u-77", " s ago", "in the way"):
        assert expected in shown


def test_a_ghost_outlives_its_admin(admin_client: Client, instance: RdsInstance) -> None:
    ghost(instance, 999, wanted=GhostState.INACTIVE)
    assert "deleted user (999)" in text_of(admin_client.get(LIST))


def test_a_leavers_active_ghost_stands_out(admin_client: Client, instance: RdsInstance) -> None:
    ghost(instance, 999, wanted=GhostState.INACTIVE)
    assert "badge-bad" in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize("query", ["bob", "BO", "id"])
def test_ghosts_are_found_by_their_admin(
    admin_client: Client, instance: RdsInstance, query: str
) -> None:
    bob, mallory = staff("bob"), staff("mallory")
    ghost(instance, bob.pk)
    ghost(instance, mallory.pk)
    shown = text_of(admin_client.get(LIST, {"q": str(bob.pk) if query == "id" else query}))
    assert f"bob ({bob.pk})" in shown
    assert "mallory" not in shown


def test_ghosts_are_filtered(admin_client: Client, instance: RdsInstance) -> None:
    ghost(instance, 901, confirmed=GhostState.REFUSED)
    ghost(instance, 902)
    shown = text_of(admin_client.get(f"{LIST}?confirmed__exact=refused"))
    assert "(901)" in shown
    assert "(902)" not in shown


def test_the_list_takes_a_bounded_number_of_queries(
    admin_client: Client,
    instance: RdsInstance,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(30):
        ghost(instance, 900 + number)
    with django_assert_max_num_queries(8):
        admin_client.get(LIST)


@pytest.mark.parametrize("way", ["add/", "{pk}/delete/", "{pk}/change/"])
def test_nobody_writes_ghosts_by_hand(
    admin_client: Client, instance: RdsInstance, way: str
) -> None:
    one = ghost(instance, 901)
    answer = admin_client.post(PAGES + way.format(pk=one.pk), {"wanted": "inactive", "post": "yes"})
    assert answer.status_code == 403
    one.refresh_from_db()
    assert one.wanted == GhostState.ACTIVE


def test_the_page_opens(admin_client: Client, instance: RdsInstance) -> None:
    one = ghost(instance, 901)
    assert "deleted user (901)" in text_of(admin_client.get(f"{PAGES}{one.pk}/change/"))
