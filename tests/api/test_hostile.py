"""What programs send that they should not: each is a problem document, and does nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from api.middleware import MOST_BYTES
from api.parsing import DEEPEST, parse_object
from api.problems import Problem
from syncs.models import SyncRun
from tests.api.clients import client
from tests.instances import InstanceFleet

RUNS = "/api/v1/syncs/tenant_summaries/runs"
JSON = "application/json"


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def padded(size: int) -> bytes:
    return b"{}".ljust(size)


@pytest.fixture
def api(registered: InstanceFleet) -> Client:
    return client()


BODIES: dict[str, tuple[bytes, str, int]] = {
    "no JSON": (b"{", JSON, 400),
    "a list": (b"[]", JSON, 400),
    "a number": (b"0", JSON, 400),
    "false": (b"false", JSON, 400),
    "null": (b"null", JSON, 400),
    "a text": (b'""', JSON, 400),
    "NaN": (b'{"force": NaN}', JSON, 400),
    "infinity": (b'{"force": Infinity}', JSON, 400),
    "a field twice": (b'{"force": true, "force": false}', JSON, 400),
    "a NUL": (b'{"instances": ["\\u0000"]}', JSON, 400),
    "half a surrogate pair": (b'{"instances": ["\\ud800"]}', JSON, 400),
    "no UTF-8": (b'{"instances": ["\xff"]}', JSON, 400),
    "nesting at the limit": (nested(DEEPEST), JSON, 422),
    "nesting beyond it": (nested(DEEPEST + 1), JSON, 400),
    "an unknown field": (b'{"instance": ["2"]}', JSON, 422),
    "a huge number": (b'{"instances": [1e999]}', JSON, 422),
    "many digits": (b'{"instances": [' + b"9" * 5000 + b"]}", JSON, 400),
    "a body at the limit": (padded(MOST_BYTES), JSON, 202),
    "a body beyond it": (padded(MOST_BYTES + 1), JSON, 413),
    "another charset": (b"{}", "application/json; charset=latin-1", 415),
    "a form": (b"force=true", "application/x-www-form-urlencoded", 415),
    "no type": (b"{}", "", 415),
    "plain UTF-8": (b"{}", 'application/json; charset="UTF-8"', 202),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(api: Client, name: str) -> None:
    body, kind, wanted = BODIES[name]
    answer = api.generic("POST", RUNS, body, content_type=kind)
    assert answer.status_code == wanted
    if wanted != 202:
        is_problem(answer)
        assert not SyncRun.objects.exists()


ADDRESSES: dict[str, tuple[str, int]] = {
    "nothing there": ("/api/v1/nothing", 404),
    "another version": ("/api/v2/runs", 404),
    "no name": ("/api/v1/syncs//runs", 404),
    "a word for a number": ("/api/v1/runs/abc", 422),
    "zero": ("/api/v1/runs/0", 422),
    "less than zero": ("/api/v1/runs/-1", 422),
    "the largest id": (f"/api/v1/runs/{2**63 - 1}", 404),
    "beyond it": (f"/api/v1/runs/{2**63}", 422),
    "beyond every number": ("/api/v1/runs/" + "9" * 400, 422),
    "a NUL in the path": ("/api/v1/syncs/a%00b", 400),
    "a NUL in the query": ("/api/v1/tenants?q=%00", 400),
    "a limit of nothing": ("/api/v1/runs?limit=0", 422),
    "a limit beyond ours": ("/api/v1/runs?limit=201", 422),
    "a page beyond every row": (f"/api/v1/runs?before={2**63}", 422),
    "an instance beyond ours": (f"/api/v1/tenants?instance={2**31}", 422),
    "a search too long": ("/api/v1/tenants?q=" + "x" * 201, 422),
    "an unknown parameter": ("/api/v1/tenants?instanc=2", 422),
    "a parameter of another address": ("/api/v1/instances?status=active", 422),
    "a parameter twice": ("/api/v1/runs?limit=1&limit=2", 422),
    "the root": ("/api/v1/", 404),
    "a name too long": ("/api/v1/syncs/" + "x" * 65, 422),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses(api: Client, name: str) -> None:
    address, wanted = ADDRESSES[name]
    answer = api.get(address)
    assert answer.status_code == wanted
    is_problem(answer)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "NONSENSE"])
def test_methods(api: Client, method: str) -> None:
    answer = api.generic(method, RUNS)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    is_problem(answer)
    assert "Access-Control-Allow-Origin" not in answer


def test_a_head_of_what_is_posted_is_refused(api: Client) -> None:
    answer = api.head(RUNS)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Idempotency-Key": ""}, 422),
        ({"Idempotency-Key": "x" * 256}, 422),
        ({"Idempotency-Key": "a\u0007b"}, 422),
        ({"Prefer": "wait=x"}, 202),
        ({"Prefer": "wait=-1"}, 202),
        ({"Prefer": "wait=" + "9" * 200}, 202),
    ],
)
def test_headers(api: Client, headers: dict[str, str], wanted: int) -> None:
    answer = api.generic("POST", RUNS, b"{}", content_type=JSON, headers=headers)
    assert answer.status_code == wanted


@pytest.mark.parametrize("length", ["x", "-1", "1.5", "¹"])
def test_a_length_that_is_no_number(api: Client, length: str) -> None:
    answer = api.generic("POST", RUNS, b"{}", content_type=JSON, CONTENT_LENGTH=length)
    assert answer.status_code == 400
    is_problem(answer)


def test_a_database_that_accepts_no_writes(api: Client) -> None:
    database = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
    connection.close()
    try:
        answer = api.generic("POST", RUNS, b"{}", content_type=JSON)
        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
        assert "read-only" in answer.json()["detail"]
        is_problem(answer)
        assert api.get("/api/v1/runs").status_code == 200, "reading goes on"
        refused = Client().get("/api/v1/runs", headers={"authorization": "Bearer wrong"})
        assert refused.status_code == 401
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(f'ALTER DATABASE "{database}" RESET default_transaction_read_only')
        connection.close()
    assert api.generic("POST", RUNS, b"{}", content_type=JSON).status_code == 202


def test_a_fault_of_ours_shows_nothing_of_it(
    api: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("password=hunter2 broke")

    monkeypatch.setattr("api.views.runs.run_report.summary_document", fail)
    SyncRun.objects.create(sync="user_routing", trigger="api")
    answer = api.get("/api/v1/runs")
    assert answer.status_code == 500
    is_problem(answer)
    assert "hunter2" not in answer.content.decode()
    assert "RuntimeError" not in answer.content.decode()
    assert "an API request failed" in caplog.text


def is_problem(answer: Any) -> None:
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["X-Content-Type-Options"] == "nosniff"
    document = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= document.keys()
    assert document["status"] == answer.status_code
    assert document["detail"]
    assert "Traceback" not in answer.content.decode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
def test_whatever_is_sent_is_an_object_or_a_problem(value: Any) -> None:
    found = outcome(json.dumps(value).encode())
    assert found in (value, 400)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_problem(body: bytes) -> None:
    assert isinstance(outcome(body), dict | int)


def outcome(body: bytes) -> dict[str, Any] | int:
    """The object, or the status of the problem."""
    try:
        return parse_object(body)
    except Problem as problem:
        return problem.status
