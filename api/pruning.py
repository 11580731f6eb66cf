"""What goes of the API's tables some time after it was needed last."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from api.models import KeyedRequest, Refusals
from api.refusals import KEPT
from api.requests import KEY_KEPT
from syncs.engine.pruning import Rule, in_batches, register


def _refusals(now: datetime, _: datetime) -> Iterator[int]:
    return in_batches(Refusals.objects.filter(minute__lt=now - KEPT))


def _keys(now: datetime, _: datetime) -> Iterator[int]:
    return in_batches(KeyedRequest.objects.filter(created_at__lt=now - KEY_KEPT))


register(
    Rule(
        "counts of refused requests",
        ("api.Refusals",),
        "",
        "an hour after the minute that they are of",
        _refusals,
        hourly=True,
    ),
    Rule(
        "keys of requests",
        ("api.KeyedRequest",),
        "",
        "24 hours after the request",
        _keys,
        hourly=True,
    ),
)
