"""Catalogues of models as they are published: one set of models, in four shapes.

`/list` is as OpenRouter's and any OpenAI-compatible `/models`, `/map` as LiteLLM's file, and
`/providers` as models.dev's. Prices are kept as texts of dollars per million tokens and written in
each catalogue's own notation, digit by digit: floats would round them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from localfleet.services.server import Asked, Reply, Service

UNKNOWN = None
RUN_TIME = "-1"
SAMPLE = {
    "input_cost_per_token": 0.0000,
    "litellm_provider": "one of https://docs.litellm.ai/docs/providers",
    "max_input_tokens": "max input tokens, if the provider specifies it",
    "mode": "one of chat, embedding, completion",
}


@dataclass(frozen=True)
class Model:
    """input, output: texts of dollars per million tokens; None: the entry has no such field.

    raw: further fields of its entry, as they are; a Decimal is written with all its digits.
    """

    name: str
    provider: str = "acme"
    input: str | None = "1"
    output: str | None = "2"
    context: int = 128_000
    raw: dict[str, Any] = field(default_factory=dict)


class LlmModels(Service):
    """key: needed if there is one. page: models of one answer of `/list` at most."""

    def __init__(self, models: Iterable[Model] = (), key: str = "") -> None:
        super().__init__()
        self.models = list(models)
        self.key = key
        self.page: int | None = None

    def add(self, name: str, **fields: Any) -> Model:
        self.models.append(Model(name, **fields))
        return self.models[-1]

    def change(self, name: str, **fields: Any) -> None:
        self.models = [replace(one, **fields) if one.name == name else one for one in self.models]

    def remove(self, name: str) -> None:
        self.models = [one for one in self.models if one.name != name]

    def answer(self, asked: Asked) -> Reply:
        if self.key and asked.headers.get("authorization") != f"Bearer {self.key}":
            return Reply(401, {"error": {"message": "No auth credentials found", "code": 401}})
        match asked.path:
            case "/list":
                return Reply(200, write(self._list(asked.parameters.get("after", ""))))
            case "/map":
                return Reply(200, write(self._map()))
            case "/providers":
                return Reply(200, write(self._providers()))
        return Reply(404, {"error": "not found"})

    def _list(self, after: str) -> dict[str, Any]:
        names = [one.name for one in self.models]
        begin = names.index(after) + 1 if after in names else 0
        shown = self.models[begin:][: self.page]
        entries = [
            {
                "id": one.name,
                "name": f"{one.provider}: {one.name}",
                "object": "model",
                "created": 1_760_000_000,
                "architecture": {"modality": "text->text", "tokenizer": "Other"},
                "context_length": one.context,
                "pricing": _known(
                    prompt=_per_token_text(one.input), completion=_per_token_text(one.output)
                ),
            }
            | one.raw
            for one in shown
        ]
        more = begin + len(shown) < len(names)
        paging = {"has_more": more, "last_id": shown[-1].name if shown else None}
        return {"object": "list", "data": entries} | (paging if self.page else {})

    def _map(self) -> dict[str, Any]:
        entries = {
            one.name: _known(
                litellm_provider=one.provider,
                mode="chat",
                max_input_tokens=one.context,
                input_cost_per_token=_per_token(one.input),
                output_cost_per_token=_per_token(one.output),
            )
            | one.raw
            for one in self.models
        }
        aliases = {name: one for name, one in entries.items() if "alias_of" in one}
        plain = {name: {"alias_of": one["alias_of"]} for name, one in aliases.items()}
        return {"sample_spec": SAMPLE} | entries | plain

    def _providers(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for one in self.models:
            provider = found.setdefault(
                one.provider, {"id": one.provider, "name": one.provider, "models": {}}
            )
            provider["models"][one.name] = {
                "id": one.name,
                "name": one.name,
                "cost": _known(input=_number(one.input), output=_number(one.output)),
                "limit": {"context": one.context, "output": 8_192},
                "modalities": {"input": ["text"], "output": ["text"]},
            } | one.raw
        return found


def odd_models() -> list[Model]:
    """What real catalogues also hold: free, unknown, tiny, with tiers, withdrawn."""
    return [
        Model("openai/gpt-4o", "openai", "2.5", "10"),
        Model("azure/eu/gpt-4o", "azure", "2.75", "11"),
        Model("openrouter/auto", "openrouter", RUN_TIME, RUN_TIME, 2_000_000),
        Model("meta-llama/llama-3.3-70b:free", "meta-llama", "0", "0"),
        Model("cohere/rerank-v4", "cohere", UNKNOWN, UNKNOWN, 0),
        Model("tiny/embed", "tiny", "0.00013", UNKNOWN),
        Model("noise/model", "noise", "566.6666666666667", "0.19999999999999998"),
        Model("Qwen/Qwen-Max", "dashscope", UNKNOWN, UNKNOWN, raw={"tiered_pricing": [{}]}),
        Model("old/davinci", "openai", "20", "20", raw={"deprecation_date": "2024-01-04"}),
    ]


def many_models(count: int, providers: int = 150) -> list[Model]:
    """Models with plausible names and prices, as many as wanted."""
    odd = odd_models()
    return odd[:count] + [
        Model(
            f"provider-{n % providers}/model-{n // providers}-{n % 7}b-instruct",
            f"provider-{n % providers}",
            str(Decimal(n % 997 + 1) / 400),
            str(Decimal(n % 499 + 1) / 40),
            1_000 * (n % 200 + 4),
        )
        for n in range(max(count - len(odd), 0))
    ]


def write(value: Any) -> str:
    """Return JSON in which decimals have all their digits."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)}: {write(one)}" for key, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(write, value))}]"
    return json.dumps(value)


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _number(price: str | None) -> Decimal | int | None:
    if price is None:
        return None
    number = Decimal(price)
    return int(number) if number == int(number) else number


def _per_token(price: str | None) -> Decimal | int | None:
    number = _number(price)
    if number is None or number == -1:
        return number
    return Decimal(number).scaleb(-6) if number else 0


def _per_token_text(price: str | None) -> str | None:
    found = _per_token(price)
    return None if found is None else format(Decimal(found), "f")
