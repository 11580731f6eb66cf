"""No price is ever off by a factor, in whichever notation and spelling it is published."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.http import Answer
from integrations.catalogues import litellm, model_list, models_dev
from integrations.catalogues.offer import HIGHEST, Offer
from integrations.services.llm_models import LlmModels as Plugin
from integrations.source import Source
from localfleet.services.llm_models import LlmModels, Model
from localfleet.services.server import running
from tests.integrations.rows import connection, fetch

# Dollars per million tokens, with as many digits as a float's shortest text has, and more.
PRICES = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(1, 10**20),
    st.integers(0, 28),
).filter(lambda price: price <= HIGHEST)
SPELLINGS = (
    lambda number: format(number, "f"),
    lambda number: format(number, "e"),
    lambda number: format(number, "E").replace("E", "E+").replace("E+-", "E-").replace("++", "+"),
    lambda number: format(number, "f") + ("00" if "." in format(number, "f") else ".00"),
)
PER_TOKEN = -6


def read(text: str) -> Any:
    """As the plugin reads an answer."""
    source = Source(Plugin(), "https://models.example", dict, lambda: None)  # type: ignore[arg-type,return-value]
    body = text.encode()
    answer = Answer(status=200, headers={}, body=body, retry_after=timedelta(0))
    return source.json(answer, exact=True)


def offers(price: str, per_token: str) -> Iterator[tuple[Any, str]]:
    """A document in each notation, and its reader."""
    yield model_list, f'{{"data": [{{"id": "m", "pricing": {{"prompt": "{per_token}"}}}}]}}'
    yield litellm, f'{{"m": {{"litellm_provider": "p", "input_cost_per_token": {per_token}}}}}'
    yield models_dev, f'{{"p": {{"models": {{"m": {{"cost": {{"input": {price}}}}}}}}}}}'


@settings(max_examples=300, deadline=None)
@given(PRICES, st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
@example(Decimal("0.15"), SPELLINGS[0], SPELLINGS[1])
@example(Decimal("566.6666666666667"), SPELLINGS[1], SPELLINGS[0])
@example(Decimal("0.19999999999999998"), SPELLINGS[0], SPELLINGS[0])
@example(Decimal("0.00013"), SPELLINGS[2], SPELLINGS[2])
@example(Decimal(100_000), SPELLINGS[3], SPELLINGS[3])
def test_three_notations_of_a_price_are_one_price(
    price: Decimal, spell: Any, spell_token: Any
) -> None:
    found = []
    for reader, text in offers(spell(price), spell_token(price.scaleb(PER_TOKEN))):
        (offer,) = reader.read(read(text))
        assert isinstance(offer, Offer), offer
        assert offer.prices["input"] == price
        found.append(offer.record().data["prices"])
    assert found[0] == found[1] == found[2]
    assert Decimal(found[0]["input"]) == price
    assert "E" not in found[0]["input"]


@pytest.mark.django_db(transaction=True)
def test_a_million_apart_is_stored_as_one_price(loopback: None) -> None:
    """The same prices by HTTP, from three catalogues, as PostgreSQL has them."""
    random = Random(7)
    wanted = {
        f"m{n}": Decimal(random.randint(1, 10 ** random.randint(1, 17))).scaleb(
            -random.randint(12, 20)
        )
        for n in range(200)
    }
    models = [Model(name, "p", str(price), "0") for name, price in wanted.items()]
    with running(LlmModels(models)) as server:
        for path in ("/list", "/map", "/providers"):
            row = connection(f"{server.url}{path}", service="llm_models", name=path, token="")
            fetch(row)
            stored = {one.name.removeprefix("p/"): one.input for one in row.models.all()}
            assert stored == wanted, path
            assert set(row.models.values_list("output", flat=True)) == {Decimal(0)}
