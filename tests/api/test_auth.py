from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from api import refusals, tokens
from api.models import Refusals
from syncs.engine import pruning
from tests.api.clients import client, token
from tests.rows import staff

pytestmark = pytest.mark.django_db
RUNS = "/api/v1/runs"


def test_without_a_token_it_says_how_to_get_one(client: Client) -> None:
    answer = client.get(RUNS)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="rainbo"'
    assert answer["Content-Type"] == "application/problem+json"
    assert "api_token create" in answer.json()["detail"]
    assert not Refusals.objects.exists(), "nobody tried a secret"


@pytest.mark.parametrize("given", ["Bearer wrong", "bearer rbo_a_b", "Bearer " + "x" * 9000])
def test_a_wrong_token_is_refused(client: Client, given: str) -> None:
    answer = client.get(RUNS, headers={"authorization": given})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer["WWW-Authenticate"]


@pytest.mark.parametrize("given", ["Basic YTpi", "rbo_x", "Bearer", "Bearer  "])
def test_another_way_of_signing_in_counts_as_none(client: Client, given: str) -> None:
    assert client.get(RUNS, headers={"authorization": given}).status_code == 401


def test_no_cookie_counts(client: Client) -> None:
    client.force_login(staff("ann", is_superuser=True))
    assert client.get("/admin/").status_code == 200
    assert client.get(RUNS).status_code == 401
    assert client.generic("POST", "/api/v1/syncs/user_routing/runs").status_code == 401
    assert "Set-Cookie" not in client.get(RUNS)


def test_a_scope_that_is_missing_is_named() -> None:
    answer = client("fleet:read").get(RUNS)
    assert answer.status_code == 403
    assert 'error="insufficient_scope", scope="syncs:read"' in answer["WWW-Authenticate"]
    assert "syncs:read" in answer.json()["detail"]


def test_every_operation_of_the_description_asks_for_a_token_and_a_scope(
    django_assert_num_queries: Any,
) -> None:
    described = Client().get("/api/v1/openapi.json").json()
    powerless = client("metrics:read")
    for path, operations in described["paths"].items():
        address = path.replace("{name}", "user_routing").replace("{run_id}", "1")
        for method in operations:
            with django_assert_num_queries(0):
                answer = Client().generic(method.upper(), address)
            assert answer.status_code == 401, address
            assert powerless.generic(method.upper(), address).status_code == 403, address


def test_too_many_wrong_tokens_have_to_wait_and_a_valid_one_never() -> None:
    valid = client("syncs:read")
    for _ in range(refusals.MOST):
        assert Client().get(RUNS, headers={"authorization": "Bearer wrong"}).status_code == 401
    answer = Client().get(RUNS, headers={"authorization": "Bearer wrong"})
    assert answer.status_code == 429
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert valid.get(RUNS).status_code == 200
    elsewhere = Client(REMOTE_ADDR="192.0.2.9")
    assert elsewhere.get(RUNS, headers={"authorization": "Bearer wrong"}).status_code == 401


def test_counts_are_forgotten() -> None:
    refusals.count("192.0.2.1")
    pruning.roll_up_by_itself()
    assert Refusals.objects.count() == 1
    Refusals.objects.update(minute="2026-01-01T00:00Z")
    pruning.roll_up_by_itself()
    assert not Refusals.objects.exists()


def test_the_cron_token_is_for_its_addresses_alone(settings: Any) -> None:
    settings.RAINBO_CRON_SECRET = "k" * 40
    answer = client(secret="k" * 40).get(RUNS)
    assert answer.status_code == 403
    assert "cron" in answer.json()["detail"]


def test_a_token_revoked_between_two_polls_is_refused() -> None:
    made = tokens.create("ci", ["syncs:read"], "ann")
    poller = client(secret=made.secret)
    assert poller.get(RUNS).status_code == 200
    tokens.revoke(made.token, "ann")
    assert poller.get(RUNS).status_code == 401


def test_no_answer_and_no_log_has_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    secret = token("fleet:read")
    for path in (RUNS, "/api/v1/nothing", f"/api/v1/runs?actor={secret}"):
        answer = client(secret=secret).get(path)
        assert secret.split("_", 2)[2] not in answer.content.decode()
