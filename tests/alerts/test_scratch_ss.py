from __future__ import annotations
from typing import Any
import pytest, re, collections
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.test import Client
from alerts import evaluation
from syncs.status import queries, problems
from syncs.dispatch import reconcile
from common.clock import database_now
from tests.rainbo import fleets
from tests.api.clients import client as make, token
from api import metrics

pytestmark = pytest.mark.django_db

def show(name, captured):
    print(f"=== {name}: {len(captured)} queries, {sum(float(q['time']) for q in captured.captured_queries)*1000:.0f} ms")
    for q in captured.captured_queries:
        print("   ", q["time"], re.sub(r"\s+", " ", q["sql"])[:170])

def test_it(admin_client):
    fleets.write(200, 4000)
    reconcile.reconcile()
    evaluation.evaluate()
    for name, ask in {
        "status": lambda: queries.status(database_now()),
        "problems": lambda: problems.judge(problems.read(database_now())),
        "evaluate": lambda: evaluation.evaluate(),
        "now": lambda: admin_client.get("/admin/"),
        "metrics": lambda: (queries.forget_shared_status(), metrics.read()),
    }.items():
        ask()
        with CaptureQueriesContext(connection) as c:
            ask()
        show(name, c)
