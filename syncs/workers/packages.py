"""What workers take from the queue: plain data that calls a function of `syncs.tasks`.

django-q packs a task as a signed pickle and calls whatever function its text names. A signature
proves only that the writer knew SECRET_KEY: here it lets nobody run code on a worker's machine.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from inspect import signature
from typing import Any, get_type_hints

from django_q import signing
from django_q.signing import BadSignature

# What `async_task` writes of ours. Hooks and chains would name further functions.
FIELDS = {"id", "name", "func", "args", "kwargs", "started", "ack_failure", "group", "cluster"}
TYPES = {"datetime": ("datetime", "timedelta", "timezone")}  # of `started`


def restrict() -> None:
    """Let django-q unpack only what `functions` names, in every process of ours."""
    signing.PickleSerializer = Tasks


def functions() -> dict[str, Callable[..., None]]:
    """What workers call, by its name in the queue: loaded when there is a task."""
    from syncs import tasks
    from syncs.schedules import store

    return {
        store.FUNCTION: tasks.run_slot,
        tasks.RUN_QUEUED: tasks.run_queued,
        tasks.ANSWER_HEARTBEAT: tasks.answer_heartbeat,
        tasks.MAINTAIN: tasks.maintain,
    }


class Tasks(signing.PickleSerializer):
    @staticmethod
    def loads(data: bytes) -> dict[str, Any]:
        """The task. Raises BadSignature, on which django-q drops it and logs why."""
        try:
            task = _PlainData(io.BytesIO(data)).load()
        except BadSignature:
            raise
        except Exception as error:
            raise BadSignature("A task in the queue can't be read.") from error
        _check(task)
        return dict(task)


class _PlainData(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in TYPES.get(module, ()):
            raise BadSignature(f"A task in the queue holds more than data: {module}.{name}.")
        return super().find_class(module, name)


def _check(task: Any) -> None:
    if not isinstance(task, dict) or not task.keys() <= FIELDS:
        raise BadSignature("A task in the queue is not one of RAINBO's.")
    function = functions().get(task.get("func", ""))
    if function is None:
        raise BadSignature("A task in the queue names a function that workers don't call.")
    try:
        given = signature(function).bind(*task["args"], **task["kwargs"]).arguments
    except (TypeError, KeyError):
        given = {"": None}
    hints = get_type_hints(function)
    if not all(isinstance(value, hints.get(name, ())) for name, value in given.items()):
        raise BadSignature(f"A task in the queue has wrong arguments for {function.__name__}.")
