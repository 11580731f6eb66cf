"""The rooms and the order of their imports: this test is the architecture; docs say why.

A room imports itself and what stands below it. Nobody imports the benchmarks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The rooms that a room imports.
ROOMS: Mapping[str, set[str]] = {
    "rainbo": {"api", "tenants", "alerts", "integrations", "syncs", "activity", "common"},
    "api": {"tenants", "alerts", "integrations", "syncs", "activity", "common"},
    "alerts": {"syncs", "activity", "common"},
    "tenants": {"syncs", "activity", "common"},
    "integrations": {"syncs", "activity", "common"},
    "syncs": {"activity", "common"},
    "activity": {"common"},
    "common": set(),
    "localfleet": set(),
    "bench": {"api", "tenants", "alerts", "integrations", "syncs", "common", "localfleet"},
}
# Inside an app: its floors, the lowest first. A package imports itself and lower floors.
FLOORS: Mapping[str, tuple[set[str], ...]] = {
    "syncs": (
        {"names"},
        {"models", "errors"},
        {"hooks"},
        {"transfer", "schedules"},
        {"engine"},
        {"status", "dispatch"},
        {"tasks"},
        {"workers", "reports"},
        {"admin", "management", "apps"},
    ),
    "alerts": (
        {"models"},
        {"rules", "routing", "quiet_hours", "advice", "affected"},
        {"run_facts", "channel_problems", "messages", "actions", "queries", "pruning"},
        {"past_runs"},
        {"channels"},
        {"evaluation", "outbox"},
        {"preview", "requested_mail"},
        {"dead_man_switch"},
        {"tick"},
        {"admin", "management", "apps"},
        {"templatetags"},
    ),
    "tenants": (
        {"models"},
        {"fleet", "pruning"},
        {"health", "routes", "summaries", "ghosts"},
        {"find", "support_access", "jobs", "signals"},
        {"admin", "management", "apps"},
    ),
}


def sources(room: str) -> Iterator[Path]:
    for path in sorted((ROOT / room).rglob("*.py")):
        if "migrations" not in path.parts:
            yield path


def imported(source: str) -> Iterator[str]:
    """The modules that the source imports, anywhere in it, with the names taken from each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of(path: Path) -> set[str]:
    return set(imported(path.read_text(encoding="utf-8")))


def against_the_floors(room: str, module: str, names: set[str]) -> Iterator[str]:
    """module: path inside the room, such as `engine/run.py`. Imports of the same floor count."""
    floor_of = {part: n for n, floor in enumerate(FLOORS[room]) for part in floor}
    own = module.split("/")[0].removesuffix(".py")
    for name in names:
        parts = name.split(".")
        if parts[0] == room and len(parts) > 1 and parts[1] != own:
            assert parts[1] in floor_of, f"{room}.{parts[1]} stands on no floor"
            if floor_of[parts[1]] >= floor_of[own]:
                yield f"{room}/{module} imports {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    allowed = ROOMS[room] | {room}
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(room)
        for name in of(path)
        if name.split(".")[0] in ROOMS and name.split(".")[0] not in allowed
    }
    assert not wrong


@pytest.mark.parametrize("room", FLOORS)
def test_imports_inside_a_room_run_down_its_floors(room: str) -> None:
    wrong = {
        fault
        for path in sources(room)
        if path.name != "__init__.py" or path.parent != ROOT / room
        for fault in against_the_floors(room, path.relative_to(ROOT / room).as_posix(), of(path))
    }
    assert not wrong


def test_migrations_import_no_code_that_may_change() -> None:
    """Only each other, and fields that models keep by their path."""
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for room in ROOMS
        for path in sources(room)
        if path.parent.name == "migrations"
        for name in of(path)
        if name.split(".")[0] in ROOMS
        and not name.startswith((f"{room}.migrations", "common.encryption"))
    }
    assert not wrong


def test_each_part_of_common_serves_two_apps() -> None:
    """What one app alone uses belongs there."""
    apps = ("rainbo", "api", "tenants", "alerts", "integrations", "syncs", "activity")
    users: dict[str, set[str]] = {path.stem: set() for path in sources("common")}
    del users["__init__"]
    within: dict[str, set[str]] = {name: set() for name in users}
    for room in (*apps, "common"):
        for path in sources(room):
            for name in of(path):
                part = name.split(".")[1] if name.startswith("common.") else ""
                if part in users and room == "common":
                    within[path.stem].add(part)
                elif part in users:
                    users[part].add(room)
    for _ in users:  # what serves a part of common serves that part's users
        for part, needs in within.items():
            for need in needs & users.keys():
                users[need] |= users.get(part, set())
    alone = {name for name, rooms in users.items() if len(rooms) < 2}
    # Whatever leaves RAINBO has one policy, before its second user, the integrations, is there.
    assert alone <= {"http"}


def test_hidden_imports_are_found() -> None:
    source = "def f():\n    from tenants.models import Tenant\n    import rainbo.urls as urls\n"
    assert list(imported(source)) == ["tenants.models.Tenant", "rainbo.urls"]


def test_an_import_up_the_floors_is_found() -> None:
    names = {"syncs.status.queries", "syncs.models.SyncRun", "syncs.engine.lease"}
    found = list(against_the_floors("syncs", "engine/run.py", names))
    assert found == ["syncs/engine/run.py imports syncs.status.queries"]
