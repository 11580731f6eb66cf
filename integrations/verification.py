"""Whether there are as many models, or prices, as there should be."""

from __future__ import annotations

from dataclasses import dataclass

from common.text import counted
from integrations import model_queries


@dataclass(frozen=True)
class Verified:
    """count: None if it is unknown, which is never enough."""

    what: str
    count: int | None
    minimum: int

    @property
    def is_enough(self) -> bool:
        return self.count is not None and self.count >= self.minimum

    @property
    def sentence(self) -> str:
        if self.count is None:
            return f"How many {self.what}s there are is unknown: no catalogue was read yet."
        found = f"{counted(self.count, self.what)} {'is' if self.count == 1 else 'are'} listed"
        if self.is_enough:
            return f"{found}: at least {self.minimum:,} are expected."
        return f"{found}, fewer than the {self.minimum:,} that are expected."


def verify_models(minimum: int) -> Verified:
    counts = model_queries.count_models()
    return Verified("model", counts.listed if counts else None, minimum)


def verify_prices(minimum: int) -> Verified:
    counts = model_queries.count_models()
    return Verified("model with a price", counts.priced if counts else None, minimum)
