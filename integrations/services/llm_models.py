"""Catalogues of models with their prices; a connection is one catalogue, by its address.

The shape of what is there decides how it is read: the names of its fields are also the unit of its
prices. A catalogue keeps its shape, so that none is ever read in the unit of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

from django.conf import settings

from common.http import Answer
from integrations.catalogues import litellm, model_list, models_dev
from integrations.catalogues.offer import KIND, Offer
from integrations.plugin import (
    Broken,
    Cursor,
    Item,
    Plugin,
    Position,
    Refused,
    Token,
    Unchanged,
    Whole,
)
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
        """What is there byte for byte as before is not read again; what is read as before is not
        compared model by model.

        That is sound because of three conditions: the digests were stored in the transaction that
        published what was read, only this connection's runs change its records, and they are of
        this version of the readers; that of the bytes, of one page. `--force` compares all anyway.
        """
        before = position or {}
        first = source.get("")
        digest = _of_readers(hashlib.sha256(first.body))
        if not source.in_full and before.get("digest") == digest:
            yield Unchanged(int(before["read"]))
            yield Cursor(before)
            return
        found, pages, shape = _read(source, first, before.get("shape"))
        names = [one.name for one in found if isinstance(one, Offer)]
        if repeated := len(names) - len(set(names)):
            source.warn(f"{repeated:,} names come more than once: the last counts")
        content = _of_readers(_content(found))
        if not source.in_full and before.get("content") == content:
            yield Unchanged(len(found))
        else:
            for one in found:
                yield one.record() if isinstance(one, Offer) else one
            yield Whole(KIND)
        same = digest if pages == 1 else ""
        yield Cursor({"shape": shape, "digest": same, "content": content, "read": len(found)})


def _read(
    source: Source, first: Answer, usual: str | None
) -> tuple[list[Offer | Refused], int, str | None]:
    """Return what all pages have, how many they are, and their shape. usual: that of before."""
    found: list[Offer | Refused] = []
    pages = 0
    for document in _pages(source, first):
        pages += 1
        shape = _shape(document)
        if usual not in (None, shape.NAME):
            raise Broken(f"it has the shape of {shape.NAME} now, and had that of {usual}")
        usual = shape.NAME
        found += shape.read(document)
    return found, pages, usual


def _content(found: Iterable[Offer | Refused]) -> Any:
    """The hash of all that was read, in its order."""
    texts = [repr(one.facts() if isinstance(one, Offer) else one) for one in found]
    return hashlib.sha256("\n".join(texts).encode())


def _of_readers(digest: Any) -> str:
    return f"{READERS} {digest.hexdigest()}"


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
