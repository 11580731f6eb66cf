"""What every service has to keep, whatever it reads: each plugin has a world and passes this."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from integrations import plugin
from integrations.models import Connection
from integrations.plugin import Broken, Item
from syncs.models import RunState, SyncRun, TargetState
from tests.caches import query
from tests.integrations.rows import fetch, part, stored
from tests.integrations.worlds import WORLDS, Expected, World

pytestmark = pytest.mark.django_db(transaction=True)

STEPS = 12  # things that happen in a history
SEEDS = range(3)
FEWER = 2  # of a further shape of a service, which shares most of what is tested
# 200 of each service with HISTORIES=203: they take some minutes.
MANY_SEEDS = range(3, int(os.environ.get("HISTORIES", "23")))


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, loopback: None) -> Iterator[World]:
    with WORLDS[request.param]() as found:
        yield found


def present(row: Connection) -> Expected:
    return {key: title for key, (title, _, is_gone) in stored(row).items() if not is_gone}


def versions(row: Connection) -> list[Any]:
    """Which transaction wrote or locked each record."""
    found = query(
        "SELECT id, xmin::text, xmax::text FROM integrations_externalrecord "
        "WHERE connection_id = %s",
        row.pk,
    )
    return sorted(found)


def stop_after(monkeypatch: pytest.MonkeyPatch, service: str, items: int) -> None:
    """Have the plugin end after so many items, as a process that is killed would."""
    usual = plugin.find(service).fetch_data

    def fetch_data(*given: Any) -> Iterator[Item]:
        for number, item in enumerate(usual(*given)):
            if number == items:
                raise Broken("stopped")
            yield item

    monkeypatch.setattr(plugin.find(service), "fetch_data", fetch_data, raising=False)


def test_every_service_has_a_world() -> None:
    assert {name.partition(":")[0] for name in WORLDS} == set(plugin.all_plugins())


def test_all_that_is_there_is_stored(world: World) -> None:
    world.fill()
    row = world.connect()
    run = fetch(row)
    assert run.state == RunState.SUCCEEDED, part(run, row).error
    assert present(row) == world.expected()


def test_a_second_run_writes_no_row(world: World) -> None:
    world.fill()
    row = world.connect()
    fetch(row)
    before = versions(row)
    done = part(fetch(row), row)
    assert (done.added, done.changed, done.removed) == (0, 0, 0)
    world.expire(row)
    fetch(row)
    assert versions(row) == before


def test_stopped_between_any_two_items_the_next_run_ends_alike(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill()
    row = world.connect()
    fetch(row)
    wanted = stored(row)
    for items in range(30):
        row = world.connect()
        with monkeypatch.context() as patch:
            stop_after(patch, world.service, items)
            run = fetch(row)
        if run.state == RunState.SUCCEEDED:
            break
        assert fetch(row).state == RunState.SUCCEEDED
        assert stored(row) == wanted, f"stopped after {items} items"
    assert 3 < items < 29


def test_any_split_of_pages_gives_the_same_rows(world: World) -> None:
    world.fill()
    found = []
    for size in (1, 2, 3, 100):
        world.split(size)
        row = world.connect()
        fetch(row)
        found.append(stored(row))
    assert all(rows == found[0] for rows in found)
    assert found[0]


def live_through(world: World, seed: int) -> None:
    random = Random(seed)
    world.fill()
    row = world.connect()
    world.split(random.choice((1, 2, 3, 100)))
    for _ in range(STEPS):
        for _ in range(random.randint(0, 2)):
            world.happen(random)
        if random.random() < 0.2:
            world.expire(row)
        fetch(row, force=True)
        allow(world, row)
        if random.random() < 0.2:
            world.split(random.choice((1, 2, 3, 100)))
    world.server.faults.clear()
    fetch_to_the_end(world, row)  # of one that was being read, a part may be older
    world.expire(row)
    run = fetch_to_the_end(world, row)
    if run.state == RunState.HELD:  # the last of a kind has gone: a person looks, and accepts
        run = fetch_to_the_end(world, row, accept_held=run.pk, reason="as it is there")
    assert run.state == RunState.SUCCEEDED, part(run, row).error or part(run, row).note
    assert present(row) == world.expected()
    row.refresh_from_db()
    assert row.record_count == len(world.expected())


def fetch_to_the_end(world: World, row: Connection, **options: Any) -> SyncRun:
    """Fetch it until that succeeds or is held, whatever it has to wait for meanwhile."""
    for _ in range(60):
        run = fetch(row, force="accept_held" not in options, **options)
        if part(run, row).state in (TargetState.SUCCEEDED, TargetState.HELD):
            return run
        allow(world, row)
    raise AssertionError(part(run, row).error or part(run, row).note)


def allow(world: World, row: Connection) -> None:
    """Its wait is over, and a person has connected it again where that was needed."""
    Connection.objects.filter(pk=row.pk).update(not_before=None)
    world.wait()
    row.refresh_from_db()
    if row.reconnect_since is not None:
        world.repair(row)


def some_histories() -> list[tuple[str, int]]:
    further = {name for name in WORLDS if ":" in name} - {"llm_models:list"}
    return [
        (name, seed) for name in WORLDS for seed in SEEDS if name not in further or seed < FEWER
    ]


@pytest.mark.parametrize(("world", "seed"), some_histories(), indirect=["world"])
def test_a_random_history_ends_as_the_service_has_it(world: World, seed: int) -> None:
    live_through(world, seed)


@pytest.mark.soak
@pytest.mark.timeout(max(600, 10 * len(MANY_SEEDS)))
@pytest.mark.parametrize("name", WORLDS)
def test_many_random_histories_end_as_the_service_has_it(name: str, loopback: None) -> None:
    """One after the other in one database, which takes longer to empty than to live through one."""
    for seed in MANY_SEEDS:
        with WORLDS[name]() as world:
            try:
                live_through(world, seed)
            except BaseException as error:
                error.add_note(f"in the history with the seed {seed}")
                raise
