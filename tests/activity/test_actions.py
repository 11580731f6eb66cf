"""Every recorded action has a text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib import admin

from activity.actions import ACTIONS, describe
from activity.recorded_admin import Recorded
from common.model_admin import HistoryInActivity

ROOT = Path(__file__).parents[2]
ROOMS = ("activity", "syncs", "alerts", "tenants", "rainbo")
ACTION = re.compile(r"[a-z_]+\.[a-z_]+")
BY_NAME = 3  # where record_by takes the action
OWN = ROOT / "activity" / "recorded_admin.py"  # its actions are made of what pages say
PLACES = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path != OWN]


def recorded(source: str) -> Iterator[str]:
    """The actions that calls of record, record_by and their like name, as patterns."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and "record" in (name := getattr(node.func, "id", "")):
            named = node.args[BY_NAME if name == "record_by" else 1 :]
            yield from filter(None, (pattern(argument) for argument in named[:1]))


def pattern(argument: ast.expr) -> str | None:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return re.escape(argument.value) if ACTION.fullmatch(argument.value) else None
    if isinstance(argument, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "x" for part in argument.values]
        if ACTION.fullmatch("".join(str(part) for part in parts)):
            expected = [re.escape(str(part)) if part != "x" else "[a-z_]+" for part in parts]
            return "".join(expected)
    return None


def test_every_recorded_action_has_its_words() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), action)
        for path in PLACES
        for action in recorded(path.read_text(encoding="utf-8"))
    }
    assert len(found) > 15
    unknown = {
        (place, action)
        for place, action in found
        if not any(re.fullmatch(action, known) for known in ACTIONS)
    }
    assert not unknown, f"activity/actions.py is missing {unknown}"


def test_the_search_for_actions_finds_them() -> None:
    source = "record(request, 'a.b')\n_record_try(request, f'c.{word}', 'not. one')"
    assert list(recorded(source)) == [r"a\.b", r"c\.[a-z_]+"]


@pytest.mark.parametrize(
    "pages", [pages for pages in admin.site._registry.values() if isinstance(pages, Recorded)]
)
def test_what_pages_of_the_admin_record_has_its_words(pages: Recorded) -> None:
    verbs = [pages.added_as, "changed", "deleted"]
    if pages.switch:
        verbs += [pages.switched_on, pages.switched_off]
    assert not {f"{pages.thing}.{verb}" for verb in verbs} - set(ACTIONS)


def test_every_page_that_people_change_things_on_records_it() -> None:
    pages = [type(pages) for pages in admin.site._registry.values()]
    assert all(issubclass(page, HistoryInActivity) for page in pages)
    open_to_change = [page for page in pages if not hasattr(page, "complete")]
    assert all(issubclass(page, Recorded) for page in open_to_change)


def test_an_action_of_the_past_is_shown_as_it_was_recorded() -> None:
    assert describe("instance.disabled") == "disabled an instance"
    assert describe("castle.built") == "castle.built"


def test_actions_are_named_alike() -> None:
    assert all(ACTION.fullmatch(action) and len(action) <= 64 for action in ACTIONS)
    assert len(set(ACTIONS.values())) == len(ACTIONS)
