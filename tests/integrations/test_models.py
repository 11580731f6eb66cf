"""Models in catalogues: their states, the history of their prices, and what is held."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from integrations import model_queries
from integrations.models import CatalogueModel, Connection, ExternalRecord, PriceChange
from localfleet.services.llm_models import LlmModels, Model, many_models, odd_models
from localfleet.services.server import Asked, Reply, running
from syncs.models import HeldChange, RunState, SyncRun
from tests.caches import query
from tests.integrations.rows import connection, fetch, part

pytestmark = pytest.mark.django_db(transaction=True)

SHAPES = ("/list", "/map", "/providers")
KEY = "sk-or-canary-4f1c9b7a2e"


@pytest.fixture
def server(loopback: None) -> Iterator[LlmModels]:
    with running(LlmModels(odd_models())) as found:
        assert isinstance(found, LlmModels)
        yield found


def catalogue(server: LlmModels, path: str = "/list", **fields: Any) -> Connection:
    known = {"service": "llm_models", "name": path, "token": "", "update_frequency_minutes": 360}
    return connection(f"{server.url}{path}", **known | fields)


def read(row: Connection, **options: Any) -> SyncRun:
    run = fetch(row, **options)
    assert run.state == RunState.SUCCEEDED, part(run, row).error or part(run, row).note
    return run


def model(name: str) -> CatalogueModel:
    return CatalogueModel.objects.get(name=name)


def prices(row: Connection) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    return {one.name: (one.input, one.output) for one in row.models.all()}


def changes() -> list[tuple[str, str, Any, Any]]:
    found = PriceChange.objects.order_by("pk").select_related("model")
    return [(one.model.name, one.field, one.old, one.new) for one in found]


@pytest.mark.parametrize("path", SHAPES)
def test_odd_values_are_what_they_mean(server: LlmModels, path: str) -> None:
    row = catalogue(server, path)
    read(row)
    known = prices(row)
    found = {
        one.name: known.get(one.name) or known[f"{one.provider}/{one.name}"]
        for one in server.models
    }
    assert found["openai/gpt-4o"] == (Decimal("2.5"), Decimal(10))
    assert found["openrouter/auto"] == (None, None), "-1 is decided at run time: unknown"
    assert found["meta-llama/llama-3.3-70b:free"] == (Decimal(0), Decimal(0)), "free"
    assert found["cohere/rerank-v4"] == (None, None), "no price is unknown, never 0"
    assert found["tiny/embed"] == (Decimal("0.00013"), None)
    assert found["noise/model"][1] == Decimal("0.19999999999999998"), "digit by digit"
    assert row.models.get(name__endswith="openrouter/auto").varies == "chosen at run time"
    assert row.models.get(name__endswith="rerank-v4").context is None, "0 tokens are unknown"


def test_the_map_has_aliases_tiers_dates_and_a_sample(server: LlmModels) -> None:
    server.add("short", raw={"alias_of": "shorter"})
    server.add("shorter", raw={"alias_of": "openai/gpt-4o"})
    server.add("round", raw={"alias_of": "about"})
    server.add("about", raw={"alias_of": "round"})
    server.add("nowhere", raw={"alias_of": "gone"})
    row = catalogue(server, "/map")
    run = read(row)
    assert (model("short").input, model("short").alias_of) == (Decimal("2.5"), "openai/gpt-4o")
    assert model("Qwen/Qwen-Max").varies == "differs by tier"
    assert str(model("old/davinci").ends_on) == "2024-01-04"
    assert not CatalogueModel.objects.filter(name__in=["sample_spec", "round", "nowhere"]).exists()
    assert part(run, row).withheld == 3


def test_what_is_no_price_is_withheld_and_what_was_known_stays(server: LlmModels) -> None:
    row = catalogue(server)
    read(row)
    bad: list[Any] = ["abc", "NaN", "-5", "", True, "1e9", [1], "1_000", "٣", "0.5"]
    for value in bad:
        server.change("openai/gpt-4o", raw={"pricing": {"prompt": value}})
        done = part(read(row), row)
        assert (done.withheld, done.removed) == (1, 0), value
        assert model("openai/gpt-4o").input == Decimal("2.5"), value
    server.models = [Model("nul\0"), Model("half\ud800"), *odd_models()]
    assert part(read(row), row).withheld == 2
    assert part(read(row), row).withheld == 2, "also where nothing changed"


def test_a_model_is_missing_delisted_and_back(server: LlmModels) -> None:
    row = catalogue(server)
    read(row)
    server.remove("tiny/embed")
    states = []
    for _ in range(4):
        read(row)
        states.append(model("tiny/embed").state_text)
    assert states == ["missing 1", "missing 2", "delisted", "delisted"]
    server.add("tiny/embed", input="0.00013", output=None)
    read(row)
    assert model("tiny/embed").state_text == "back"
    assert not changes(), "its price is what it was"
    server.remove("cohere/rerank-v4")
    read(row)
    server.add("cohere/rerank-v4", input=None, output=None)
    read(row)
    assert model("cohere/rerank-v4").state_text == "listed", "it was never delisted"


def test_a_failed_reading_counts_no_model_as_missing(server: LlmModels) -> None:
    row = catalogue(server)
    read(row)
    for reply in (Reply(500), Reply(200, "no JSON"), Reply(200, {}), Reply(200, {"data": 1})):
        server.faults.append(reply)
        assert fetch(row).state == RunState.FAILED
    server.faults.append(Reply(200, {"data": []}))
    assert fetch(row).state == RunState.HELD, "an empty list where models were"
    assert not row.models.exclude(state="listed").exists()


def test_every_change_of_a_price_is_kept(server: LlmModels) -> None:
    row = catalogue(server)
    read(row)
    priced_at = model("openai/gpt-4o").priced_at
    server.change("openai/gpt-4o", input="3")
    read(row)
    server.change("openai/gpt-4o", input=None)
    read(row)
    server.change("openai/gpt-4o", input="2.50")
    read(row)
    name = "openai/gpt-4o"
    assert changes() == [
        (name, "input", Decimal("2.5"), Decimal(3)),
        (name, "input", Decimal(3), None),
        (name, "input", None, Decimal("2.5")),
    ]
    assert model(name).priced_at > priced_at


@pytest.mark.parametrize("other", [{"raw": {"pricing": {"prompt": "0.00000250"}}}, {"context": 9}])
def test_another_spelling_is_no_change_of_a_price(server: LlmModels, other: dict[str, Any]) -> None:
    row = catalogue(server)
    server.change("openai/gpt-4o", output=None)
    read(row)
    server.change("openai/gpt-4o", **other)
    read(row)
    assert not changes()


def test_a_catalogue_keeps_its_shape(server: LlmModels) -> None:
    """Else a price per million tokens would be read as one per token."""
    row = catalogue(server)
    read(row)
    body = server.answer(server.asked[-1].__class__("/providers", {}, {})).body
    server.faults.append(Reply(200, body))
    run = fetch(row)
    assert "shape of models.dev now, and had that of list" in part(run, row).error
    assert model("openai/gpt-4o").input == Decimal("2.5")


def test_a_price_times_ten_is_held_and_accepted_once(server: LlmModels) -> None:
    server.models = many_models(40)
    row = catalogue(server)
    read(row)
    server.change("openai/gpt-4o", input="24.9")
    read(row)
    server.change("openai/gpt-4o", input="2490", output="11")
    held = fetch(row)
    assert held.state == RunState.HELD
    assert part(held, row).note == "1 price would change by a factor of 10 or more"
    assert set(HeldChange.objects.values_list("kind", "source_id", "detail")) == {
        ("changed", "model/openai/gpt-4o", "input: 24.9 → 2490"),
        ("changed", "model/openai/gpt-4o", "output: 10 → 11"),
    }
    assert model("openai/gpt-4o").input == Decimal("24.9")
    server.change("openai/gpt-4o", input="2500")
    beyond = fetch(row, accept_held=held.pk, reason="they said so")
    assert "were not accepted" in part(beyond, row).note, "not what the person saw"
    server.change("openai/gpt-4o", input="2490")
    last = fetch(row)
    read(row, accept_held=last.pk, reason="they said so")
    assert model("openai/gpt-4o").input == Decimal(2490)


def test_prices_that_fall_to_a_tenth_are_held(server: LlmModels) -> None:
    row = catalogue(server)
    read(row)
    server.change("openai/gpt-4o", output="1")
    assert fetch(row).state == RunState.HELD


def test_more_than_30_percent_of_prices_changing_is_held(server: LlmModels) -> None:
    server.models = [Model(f"m{n}") for n in range(10)]  # 20 prices
    row = catalogue(server)
    read(row)
    for n in range(6):
        server.change(f"m{n}", input="1.1")
    read(row)
    for n in range(7):
        server.change(f"m{n}", input="1.2")
    run = fetch(row)
    assert part(run, row).note == "7 of 20 prices (35%) would change"


def test_more_than_a_tenth_of_models_going_is_held_with_prices_in_one_decision(
    server: LlmModels,
) -> None:
    server.models = [Model(f"m{n}") for n in range(40)]
    row = catalogue(server)
    read(row)
    for n in range(4):
        server.remove(f"m{n}")
    read(row)
    for n in range(4, 9):
        server.remove(f"m{n}")
    server.change("m20", input="99")
    run = fetch(row)
    assert run.state == RunState.HELD
    assert part(run, row).note.startswith("model: 5 of 36 rows (14%) would be removed; 1 price")
    assert part(run, row).removed == 5
    read(row, accept_held=run.pk, reason="seen")
    assert (model("m5").state_text, model("m20").input) == ("missing 1", Decimal(99))


def test_what_is_there_byte_for_byte_is_not_read_again(
    server: LlmModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("bad", raw={"pricing": {"prompt": "x"}})
    row = catalogue(server)
    read(row)
    # Were it read again, this would be seen; the next two are what makes not reading it sound.
    ExternalRecord.objects.filter(external_id="tiny/embed").update(hash=b"x" * 16)
    done = part(read(row), row)
    assert (done.read, done.changed, done.withheld) == (10, 0, 1)
    monkeypatch.setattr("integrations.services.llm_models.READERS", 2)
    assert part(read(row), row).changed == 1, "other readers may read it otherwise"
    ExternalRecord.objects.filter(external_id="tiny/embed").update(hash=b"x" * 16)
    assert part(read(row, force=True), row).changed == 1, "--force reads it all the same"


def test_what_is_read_as_before_is_not_compared_model_by_model(
    server: LlmModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("bad", raw={"pricing": {"prompt": "x"}})
    row = catalogue(server)
    read(row)
    usual, spaces = server.answer, [""]

    def answer(asked: Asked) -> Reply:
        reply = usual(asked)
        return Reply(reply.status, f"{reply.body}{spaces[0]}")

    monkeypatch.setattr(server, "answer", answer)
    # Were it compared, this would be seen.
    ExternalRecord.objects.filter(external_id="tiny/embed").update(hash=b"x" * 16)
    spaces[0] = "  "
    done = part(read(row), row)
    assert (done.read, done.changed, done.withheld) == (10, 0, 1)
    spaces[0] = " "
    assert part(read(row, force=True), row).changed == 1, "--force compares it all the same"
    for change in (
        lambda: server.add("new/one", input="0.5"),
        lambda: server.remove("tiny/embed"),
        lambda: server.add("bad", raw={"pricing": {"prompt": "y"}}),
    ):
        change()
        spaces[0] += " "
        before = row.records.order_by("pk").values_list("hash", "gone_at")
        known, reasons = list(before), withheld()
        read(row)
        assert (list(before.all()), withheld()) != (known, reasons)


def withheld() -> list[Any]:
    return query("SELECT source_id, reason FROM syncs_withheldrow ORDER BY 1")


def test_pages_are_followed_and_never_round_and_round(server: LlmModels) -> None:
    server.page = 2
    row = catalogue(server)
    read(row)
    assert row.models.count() == len(odd_models())
    endless = {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}
    server.faults += [Reply(200, endless), Reply(200, endless)]
    assert "does not say where they begin" in part(run := fetch(row), row).error
    assert run.state == RunState.FAILED


def test_a_key_is_sent_where_there_is_one(server: LlmModels) -> None:
    row = catalogue(server)
    read(row)
    assert "authorization" not in server.asked[-1].headers
    server.key = KEY
    assert fetch(row).state == RunState.FAILED
    other = catalogue(server, name="with a key", token=KEY)
    read(other)


def test_commands_fetch_and_verify(server: LlmModels, capsys: pytest.CaptureFixture[str]) -> None:
    def code(*words: str) -> int:
        try:
            call_command(*words)
        except SystemExit as end:
            return int(str(end.code))
        return 0

    assert code("sync_models", "verify", "--minimum", "1") == 1
    assert "unknown: no catalogue was read yet" in capsys.readouterr().err
    assert code("sync_models") == 2
    row = catalogue(server)
    assert code("sync_models") == 0
    assert code("sync_pricing", "--catalogue", str(row.pk)) == 0
    assert code("sync_models", "verify", "--minimum", "9") == 0
    assert "9 models are listed: at least 9 are expected." in capsys.readouterr().out
    assert code("sync_models", "verify", "--minimum", "10") == 1
    assert "fewer than the 10 that are expected" in capsys.readouterr().err
    assert code("sync_pricing", "verify", "--minimum", "6") == 0
    assert code("sync_pricing", "verify", "--minimum", "7") == 1
    assert code("sync_models", "--minimum", "7") == 2
    assert code("sync_models", "verify") == 2


def test_counts_leave_out_what_is_not_there(server: LlmModels) -> None:
    row = catalogue(server)
    assert model_queries.count_models() is None
    read(row)
    server.remove("tiny/embed")
    read(row)
    counts = model_queries.count_models()
    assert counts is not None
    assert (counts.listed, counts.missing, counts.delisted, counts.priced) == (8, 1, 0, 5)
    Connection.objects.filter(pk=row.pk).update(enabled=False)
    assert (found := model_queries.count_models()) is not None
    assert found.listed == 0


def test_it_is_not_fetched_by_itself_where_that_is_off(server: LlmModels, settings: Any) -> None:
    from integrations import look, states

    row = catalogue(server)
    settings.PRICING_SYNC_ENABLED = False
    assert look.look() == []
    now = timezone.now()
    judged = states.judge([row], now)[row.pk]
    assert (judged.is_due(now), judged.next_at) == (False, None)
    assert "PRICING_SYNC_ENABLED" in judged.why
    settings.PRICING_SYNC_ENABLED = True
    assert [run.sync for run in look.look()] == ["llm_models"]
