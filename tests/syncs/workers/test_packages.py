"""Workers run nothing but RAINBO's own tasks, whoever signed what is in the queue."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from multiprocessing import Event
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from django.conf import settings
from django_q import core_signing
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.pusher import pusher
from django_q.signing import BadSignature, SignedPackage

from syncs import tasks
from syncs.models import SyncRun, Trigger

pytestmark = pytest.mark.django_db(transaction=True)

GOOD: dict[str, Any] = {
    "id": "1",
    "name": "one",
    "func": tasks.RUN_QUEUED,
    "args": (1,),
    "kwargs": {},
    "started": datetime(2026, 11, 30, tzinfo=UTC),
}
ELSEWHERE: dict[str, dict[str, Any]] = {
    "another function": {"func": "builtins.len", "args": ((),)},
    "another function of the module": {"func": "syncs.tasks.enqueue"},
    "a function itself": {"func": len, "args": ((),)},
    "a hook": {"hook": "builtins.print"},
    "a chain": {"chain": [("builtins.len", ((),), {})]},
    "an object as argument": {"args": (Path("x"),)},
    "an argument of another type": {"args": ("1",)},
    "too many arguments": {"args": (1, 2)},
    "an unknown argument": {"kwargs": {"more": 1}},
    "no arguments": {"args": None},
}


class Signed:
    """Packs whatever it gets, as someone would who knows SECRET_KEY."""

    @staticmethod
    def dumps(obj: object) -> bytes:
        return pickle.dumps(obj)


def pack(task: object) -> str:
    return str(core_signing.dumps(task, key=Conf.SECRET_KEY, salt=Conf.PREFIX, serializer=Signed))


def taken() -> list[Any]:
    """What a cluster hands to its workers, by django-q's own loop, of what is in the queue."""
    stop, queue = Event(), Queue[Any]()
    stop.set()
    pusher(queue, stop, get_broker())
    return [queue.get_nowait() for _ in range(queue.qsize())]


def put(payload: str) -> None:
    OrmQ.objects.create(key=Conf.PREFIX, payload=payload, lock=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_task_of_ours_is_handed_to_a_worker() -> None:
    record = SyncRun.objects.create(sync="user_routing", trigger=Trigger.BUTTON)
    tasks.enqueue(record)
    (task,) = taken()
    assert (task["func"], task["args"]) == (tasks.RUN_QUEUED, (record.pk,))


@pytest.mark.parametrize("change", ELSEWHERE.values(), ids=ELSEWHERE)
def test_any_other_task_is_dropped(change: dict[str, Any]) -> None:
    assert SignedPackage.loads(pack(GOOD))["args"] == (1,)
    put(pack(GOOD | change))
    assert taken() == []
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("content", [None, [], "text", 1, len])
def test_what_is_no_task_is_dropped(content: object) -> None:
    put(pack(content))
    assert taken() == []


def test_a_task_with_another_signature_is_dropped() -> None:
    with pytest.raises(BadSignature):
        SignedPackage.loads(pack(GOOD)[:-1])


def test_each_function_that_the_queue_may_call_is_named_as_it_is_stored() -> None:
    from syncs.workers.packages import functions

    for name, function in functions().items():
        assert name == f"{function.__module__}.{function.__name__}"
    assert set(settings.CACHES) == {"default"}
