"""The console's pages of models: lists, comparison, the chart of prices, the file."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from activity.models import Activity
from integrations.admin import price_chart
from integrations.models import CatalogueModel, Connection, PriceChange
from tests.integrations.rows import connection
from tests.rows import staff

pytestmark = pytest.mark.django_db

LIST = reverse("admin:integrations_cataloguemodel_changelist")
EXPORT = reverse("admin:integrations_cataloguemodel_export")
NOW = timezone.now()


@pytest.fixture
def shared() -> Connection:
    row = connection(service="llm_models", name="openrouter", is_shared=True)
    add(row, "openai/gpt-4o", "2.5", "10", provider="openai", context=128_000)
    add(row, "azure/eu/gpt-4o", "2.75", None, provider="azure")
    add(row, "z/free", "0", "0", state="delisted", missing=3)
    return row


@pytest.fixture
def visitor() -> Client:
    user = staff("visitor")
    user.user_permissions.add(Permission.objects.get(codename="view_cataloguemodel"))
    client = Client()
    client.force_login(user)
    return client


def add(
    row: Connection, name: str, before: str | None, after: str | None, **fields: Any
) -> CatalogueModel:
    times = {"state_since": NOW, "first_seen_at": NOW - timedelta(days=10), "priced_at": NOW}
    return CatalogueModel.objects.create(
        connection=row,
        name=name,
        base_name=name.rpartition("/")[2],
        input=before and Decimal(before),
        output=after and Decimal(after),
        **times | fields,
    )


def page(name: str) -> str:
    row = CatalogueModel.objects.get(name=name)
    return reverse("admin:integrations_cataloguemodel_change", args=[row.pk])


def text(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.mark.usefixtures("shared")
def test_the_list_is_searched_and_filtered(visitor: Client) -> None:
    shown = text(visitor.get(LIST))
    assert shown.index("azure/eu/gpt-4o") < shown.index("openai/gpt-4o") < shown.index("z/free")
    assert "z/free" not in text(visitor.get(LIST, {"q": "GPT-4O"}))
    assert "openai/gpt-4o" not in text(visitor.get(LIST, {"state": "delisted"}))
    assert "openai/gpt-4o" not in text(visitor.get(LIST, {"price": "free"}))
    assert "openai/gpt-4o" in text(visitor.get(LIST, {"price": "paid"}))


@pytest.mark.usefixtures("shared")
def test_what_is_unknown_is_shown_as_unknown(visitor: Client) -> None:
    shown = text(visitor.get(page("azure/eu/gpt-4o")))
    assert "unknown" in shown
    assert "free" in text(visitor.get(page("z/free")))
    assert "The last 3 full listings did not have it" in text(visitor.get(page("z/free")))


@pytest.mark.usefixtures("shared")
def test_providers_of_one_model_are_compared(visitor: Client) -> None:
    shown = text(visitor.get(page("azure/eu/gpt-4o")))
    others = shown[shown.index("Providers of gpt-4o") :]
    assert others.index("openai/gpt-4o") < others.index("azure/eu/gpt-4o"), "the cheaper first"
    assert "Providers of" not in text(visitor.get(page("z/free")))


def test_what_others_have_connected_for_themselves_is_not_seen(visitor: Client) -> None:
    private = connection(service="llm_models", name="mine alone")
    add(private, "secret/model", "1", "2")
    assert "secret/model" not in text(visitor.get(LIST))
    assert visitor.get(page("secret/model")).status_code == 302
    assert b"secret/model" not in visitor.post(EXPORT).getvalue()


def test_the_history_is_a_chart_and_a_table(visitor: Client, shared: Connection) -> None:
    row = shared.models.get(name="openai/gpt-4o")
    for days, old, new in ((8, "5", None), (5, None, "3"), (2, "3", "2.5")):
        PriceChange.objects.create(
            model=row, field="input", old=old, new=new, at=NOW - timedelta(days=days)
        )
    shown = text(visitor.get(page(row.name)))
    assert "input: 2.5 now, 5 on" in shown
    assert "lowest 2.5, highest 5" in shown
    assert shown.count("<polyline") == 2, "broken where the price was unknown"
    (chart, *_) = price_chart.charts(row, list(row.changes.order_by("at")), NOW)
    assert chart.lines == ("0,2.0 20,2.0", "50,16.4 80,16.4 80,20.0 100,20.0")


@pytest.mark.usefixtures("shared")
def test_the_file_has_all_digits_and_empty_cells(visitor: Client) -> None:
    CatalogueModel.objects.filter(name="z/free").update(input=Decimal("0.00000012345678901234"))
    CatalogueModel.objects.filter(name="openai/gpt-4o").update(name="=cmd|openai/gpt-4o")
    answer = visitor.post(EXPORT)
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))
    by_name = {row["model"]: row for row in rows}
    price = "{} (USD per million tokens)".format
    assert by_name["z/free"][price("input")] == "0.00000012345678901234"
    assert by_name["z/free"][price("output")] == "0"
    assert by_name["azure/eu/gpt-4o"][price("output")] == ""
    assert "'=cmd|openai/gpt-4o" in by_name
    assert Activity.objects.filter(action="models.exported").count() == 1
    few = visitor.post(f"{EXPORT}?state=delisted").getvalue().decode()
    assert "azure" not in few


def test_without_models_the_list_says_what_to_do(visitor: Client) -> None:
    assert "No catalogue of models was read yet" in text(visitor.get(LIST))


def test_a_catalogue_is_connected_without_a_token(settings: Any) -> None:
    client = Client()
    client.force_login(staff("owner", is_superuser=True))
    form = {
        "service": "llm_models",
        "name": "openrouter",
        "token": "",
        "base_url": "",
        "minutes": "",
    }
    add_page = reverse("admin:integrations_connection_add")
    assert "needs an address" in text(client.post(add_page, form))
    form["base_url"] = "https://openrouter.example/api/v1/models"
    assert client.post(add_page, form).status_code == 302
    row = Connection.objects.get()
    assert (row.update_frequency_minutes, row.reveal_credentials()) == (360, {"token": ""})
    github = form | {"service": "github", "base_url": ""}
    assert "A token has 1 to" in text(client.post(add_page, github))
