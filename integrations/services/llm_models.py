"""Catalogues of models with their prices; a connection is one catalogue, by its address.

The shape of what is there decides how it is read: the names of its fields are also the unit of its
prices. A catalogue keeps its shape, so that none is ever read in the unit of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

from django.conf import settings

from common.http import Answer
from integrations.catalogues import litellm, model_list, models_dev
from integrations.catalogues.offer import KIND, Offer
from integrations.plugin import Broken, Cursor, Item, Plugin, Position, Token, Unchanged, Whole
from integrations.source import Source

SHAPES = (model_list, models_dev, litellm)
MOST_PAGES = 1_000
READERS = 1  # counts up with each change of what is read of an entry


class LlmModels(Plugin):
    name = "llm_models"
    title = "Model catalogues"
    period = timedelta(hours=settings.PRICING_SYNC_INTERVAL_HOURS)
    base_url = ""
    auth = Token(
        help="the address of the list, such as https://openrouter.ai/api/v1/models, "
        "https://models.dev/api.json or LiteLLM's map; a key only where one is needed",
        is_optional=True,
    )
    answer_size = 64_000_000
    may_remove = "RAINBO_GUARD_MODELS_REMOVED"
    has_prices = True

    def is_automatic(self) -> bool:
        return bool(settings.PRICING_SYNC_ENABLED)

    def fetch_data(self, source: Source, position: Position | None) -> Iterator[Item]:
        """What is there byte for byte as before is not read again.

        That is sound because of three conditions: the digest was stored in the transaction that
        published what was read of it, only this connection's runs change its records, and it is
        of one page and of this version of the readers. `--force` reads it all the same.
        """
        before = position or {}
        usual = before.get("shape")
        first = source.get("")
        digest = hashlib.sha256(first.body).hexdigest()
        if not source.in_full and before.get("digest") == f"{READERS} {digest}":
            yield Unchanged(int(before["read"]))
            yield Cursor(before)
            return
        seen: set[str] = set()
        repeated = pages = read = 0
        for document in _pages(source, first):
            pages += 1
            shape = _shape(document)
            if usual not in (None, shape.NAME):
                raise Broken(f"it has the shape of {shape.NAME} now, and had that of {usual}")
            usual = shape.NAME
            for offer in shape.read(document):
                read += 1
                if not isinstance(offer, Offer):
                    yield offer
                    continue
                repeated += offer.name in seen
                seen.add(offer.name)
                yield offer.record()
        if repeated:
            source.warn(f"{repeated:,} names come more than once: the last counts")
        yield Whole(KIND)
        same = f"{READERS} {digest}" if pages == 1 else ""
        yield Cursor({"shape": usual, "digest": same, "read": read})


def _pages(source: Source, answer: Answer) -> Iterator[Any]:
    """Yield the document, and its further pages where it says that there are some."""
    met: set[str] = set()
    while len(met) < MOST_PAGES:
        document = source.json(answer, exact=True)
        yield document
        last = document.get("last_id") if document.get("has_more") is True else None
        if document.get("has_more") is not True:
            return
        if not isinstance(last, str) or not last or last in met:
            raise Broken("it has more models, and does not say where they begin")
        met.add(last)
        answer = source.get("", {"after": last})
    raise Broken(f"its list has more than {MOST_PAGES:,} pages")


def _shape(document: Any) -> ModuleType:
    for shape in SHAPES:
        if shape.fits(document):
            return shape
    raise Broken("it is no catalogue of models in a known shape, or an empty one")
