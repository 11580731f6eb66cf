"""A test with transactions leaves nothing to the next, whatever it did."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission

from rainbo.auth.roles import ROLES
from tests.caches import query
from tests.emptying import contents, filled
from tests.rows import instance_row

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.parametrize("turn", [1, 2])]


def test_rows_are_gone(turn: int) -> None:
    assert query("SELECT FROM rds_instances UNION ALL SELECT FROM syncs_bucketdigest") == []
    instance_row(1)
    query("INSERT INTO syncs_bucketdigest VALUES (DEFAULT, 'user_routing', '1', 0, 1, 1, 1)")


def test_what_comes_with_the_tables_is_as_new(turn: int) -> None:
    assert {group.name for group in Group.objects.all()} == {*ROLES}
    assert Permission.objects.filter(codename="view_tenant").count() == 1
    Group.objects.all().delete()
    Permission.objects.all().delete()


def test_a_change_of_a_tables_order_is_none(turn: int) -> None:
    before = contents(filled())
    Group.objects.filter(name="system_admin").update(name="system_admin")
    assert contents(filled()) == before
