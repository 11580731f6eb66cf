"""The door into the record: nothing that a person types makes it fail, and no secret stays."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import HttpRequest

from activity.address import address_of
from activity.log import record, record_by
from activity.models import Activity
from activity.wording import in_words
from tests.rows import instance_row, staff

pytestmark = pytest.mark.django_db


def request_of(user: Any, **meta: str) -> HttpRequest:
    request = HttpRequest()
    request.user = user
    request.META = {"REMOTE_ADDR": "10.0.0.7", **meta}
    return request


def test_it_says_who_did_what_on_what_from_where() -> None:
    ann, instance = staff("ann"), instance_row(3)
    record(request_of(ann), "instance.disabled", instance, after={"is_active": False})
    entry = Activity.objects.get()
    assert (entry.actor, entry.actor_id, entry.address) == ("ann", ann.pk, "10.0.0.7")
    assert (entry.subject_kind, entry.subject_id) == ("tenants.rdsinstance", "3")
    assert entry.subject == str(instance)
    assert (entry.before, entry.after) == (None, {"is_active": False})


def test_somebody_who_is_not_signed_in_is_named_by_hand() -> None:
    record_by("mallory", None, None, "person.sign_in_failed", "mallory")
    entry = Activity.objects.get()
    assert (entry.actor, entry.actor_id, entry.address) == ("mallory", None, None)


def test_nobody_is_nobody() -> None:
    record(request_of(AnonymousUser()), "person.signed_out")
    assert Activity.objects.values_list("actor", "actor_id").get() == ("", None)


def test_what_fails_leaves_no_record() -> None:
    def act() -> None:
        with transaction.atomic():
            record(request_of(staff()), "instance.disabled", "rds1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        act()
    assert not Activity.objects.exists()


def test_no_text_makes_it_fail() -> None:
    long, odd = "x" * 5_000, "a\0b\ud800c"
    record_by(long, 1, None, "instance.changed", odd, after={odd: odd, "note": long})
    entry: Any = Activity.objects.get()
    assert len(entry.actor) == 150
    assert entry.actor.endswith("…")
    assert entry.subject == "ab?c"
    assert entry.after["ab?c"] == "ab?c"
    assert len(entry.after["note"]) == 2_000


def test_values_of_any_kind_are_kept() -> None:
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    values = {"at": now, "ratio": math.nan, "some": {"b", "a"}, "list": [1, None], "row": object}
    record_by("ann", 1, None, "instance.changed", after=values)
    after: Any = Activity.objects.get().after
    assert (after["at"], after["ratio"]) == ("2026-01-02T03:04:00Z", "nan")
    assert (after["some"], after["list"]) == (["a", "b"], [1, None])
    assert "object" in after["row"]


def test_a_secret_is_never_kept() -> None:
    before = {"password": "hunter2", "api_token": "t0k", "name": "old"}
    after = {"new_password": "hunter3", "secret": "", "name": "new", "in": {"Passphrase": "p"}}
    record_by("ann", 1, None, "instance.changed", before=before, after=after)
    entry = Activity.objects.get()
    assert entry.before == {"name": "old"}
    assert entry.after == {"new_password": "changed", "name": "new", "in": {}}


@pytest.mark.parametrize(
    ("meta", "address"),
    [
        ({"REMOTE_ADDR": "192.0.2.1"}, "192.0.2.1"),
        ({"REMOTE_ADDR": "2001:db8::1"}, "2001:db8::1"),
        ({"REMOTE_ADDR": ""}, None),  # a Unix socket
        ({"REMOTE_ADDR": "not an address"}, None),
        ({"REMOTE_ADDR": "fe80::1%eth0"}, "fe80::1"),
        ({"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, "192.0.2.1"),
    ],
)
def test_the_address_is_that_of_the_connection(meta: dict[str, str], address: str | None) -> None:
    assert address_of(request_of(AnonymousUser(), **meta)) == address


@pytest.mark.parametrize(
    ("hops", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("203.0.113.9, unknown", None),
        ("", None),
    ],
)
def test_behind_a_proxy_the_last_hop_counts(settings: Any, hops: str, address: str | None) -> None:
    settings.RAINBO_BEHIND_PROXY = True
    assert address_of(request_of(AnonymousUser(), HTTP_X_FORWARDED_FOR=hops)) == address


@pytest.mark.parametrize("text", ["2026-13-45T99:00:00Z", "2026-01-02T03:04:05.1234567Z", "12"])
def test_what_only_looks_like_a_time_is_shown_as_it_is(text: str) -> None:
    assert in_words(text) == text
