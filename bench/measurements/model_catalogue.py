"""A catalogue of models in which nothing has changed, compared with Django's bulk_create."""

from __future__ import annotations

from typing import Any

from bench.errors import BenchError
from bench.progress import note
from bench.report.figures import Spread, ratio
from bench.report.results import Bar, Line, Part
from bench.testbed.servers import Testbed
from localfleet.services.llm_models import LlmModels, many_models
from localfleet.services.server import Asked, Reply, Service, running

MOST = 0.35  # times what Django takes
DJANGO = "bulk_create(update_conflicts=True)"
Found = dict[str, Any]  # what a task answered


class Kept(Service):
    """Answers what was written before, so that writing it is not measured.

    spaces: at its end: with others, it has the same models and other bytes.
    """

    def __init__(self, models: int) -> None:
        super().__init__()
        catalogue = LlmModels(many_models(models))
        self.body = str(catalogue.answer(Asked("/list", {}, {})).body)
        self.spaces = 0

    def answer(self, asked: Asked) -> Reply:  # noqa: ARG002
        return Reply(200, f"{self.body}{' ' * self.spaces}")


def measure(testbed: Testbed, models: int, turns: int) -> Part:
    """All in turns. Ours are whole runs with their request; Django's rows are built before."""
    private = {"RAINBO_HTTP_PRIVATE_HOSTS": "127.0.0.1"}
    service = Kept(models)
    same, compared, django = [], [], []
    with running(service), testbed.doing("catalogue", **private) as child:
        child({"do": "connect", "url": service.url})
        first = child({"do": "sync"})
        if first["read"] != models:
            raise BenchError(f"only {first['read']} models were read")
        note(f"{models:,} models: the first run took {first['seconds']:.2f} s")
        child({"do": "django"})
        for turn in range(turns):
            same.append(child({"do": "sync"}))
            django.append(child({"do": "django"}))
            service.spaces = turn + 1
            compared.append(child({"do": "sync"}))
    return _part(models, turns, first, same, compared, django)


def _part(
    models: int,
    turns: int,
    first: Found,
    same: list[Found],
    compared: list[Found],
    django: list[Found],
) -> Part:
    theirs = _seconds(django)
    by_bytes, by_models = ratio(_seconds(same), theirs), ratio(_seconds(compared), theirs)
    written = sum(found["written"] for found in [*same, *compared])
    note(f"{by_bytes.median:.2f} × by the bytes, {by_models.median:.2f} × model by model")
    lines = [
        Line("RAINBO", "nothing changed", Spread.of(_seconds(same)), by_bytes, written=0),
        Line(
            "RAINBO",
            "no model changed, in an answer of other bytes",
            Spread.of(_seconds(compared)),
            by_models,
            written=0,
            note="each model is read; all that was read is compared by its digest",
        ),
        Line(
            "Django",
            f"{DJANGO} of the same rows",
            Spread.of(theirs),
            ratio(theirs, theirs),
            written=models,
            note="rows are built before; nothing is fetched and nothing compared",
        ),
        Line("RAINBO", "first run", Spread.of(_seconds([first])), written=first["written"]),
    ]
    bars = [
        Bar(f"a catalogue in which nothing changed, by {DJANGO}", MOST, by_bytes.median),
        Bar(f"one in which no model changed, by {DJANGO}", MOST, by_models.median),
        Bar("rows of records, models and prices written then", 0, written, "rows"),
    ]
    facts = {"models": f"{models:,} in one catalogue of OpenRouter's shape", "turns": f"{turns}"}
    return Part("models", "A catalogue of models", lines, bars, facts)


def _seconds(found: list[Found]) -> list[float]:
    return [one["seconds"] for one in found]
