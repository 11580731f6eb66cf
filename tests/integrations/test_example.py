"""The example of docs/writing-a-plugin.md works as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations import plugin, services
from integrations.plugin import Plugin
from localfleet.services.server import Asked, Reply, Service, running
from syncs.engine import registry
from syncs.models import RunState
from tests.integrations.rows import connection, fetch, part, titles

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-plugin.md"


class Library(Service):
    """The service of the example."""

    def __init__(self) -> None:
        super().__init__()
        self.loans = [{"id": "1", "title": "Emma", "due": "2026-03-01"}]
        self.notices: list[dict[str, Any]] = [{"id": "n1", "text": "Closed", "withdrawn": False}]

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/loans":
            return Reply(200, self.loans)
        begin = int(asked.parameters.get("since") or 0)
        shown = self.notices[begin:]
        return Reply(200, {"notices": shown, "next": str(len(self.notices))})


@pytest.fixture
def library(loopback: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setattr(plugin, "_plugins", dict(plugin._plugins))
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    services.register(example())
    with running(Library()) as found:
        assert isinstance(found, Library)
        yield found


def example() -> Plugin:
    """The class that the page shows."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code[1], str(PAGE), "exec"), names)
    made: Plugin = names["Library"]()
    return made


def test_the_example_fetches_forgets_and_remembers(library: Library) -> None:
    row = connection(library.url, service="library")
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error
    assert (titles(row, "loan"), titles(row, "notice")) == (["Emma"], ["Closed"])
    library.loans = [
        {"id": "1", "title": "Emma", "due": "2026-04-01"},
        {"id": "2", "title": "Ulysses", "due": "2026-03-09"},
    ]
    library.notices.append({"id": "n1", "withdrawn": True})
    done = part(fetch(row), row)
    assert (done.added, done.changed, done.removed) == (1, 1, 1)
    assert titles(row, "loan") == ["Emma", "Ulysses"]
    assert titles(row, "notice") == []
    (change,) = row.records.get(external_id="1").changes.all()
    assert (change.field, change.old, change.new) == ("due", "2026-03-01", "2026-04-01")
