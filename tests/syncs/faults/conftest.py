from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.syncs.faults.stage import Stage, Theatre, theatre

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def house() -> Iterator[Theatre]:
    with theatre() as opened:
        yield opened


@pytest.fixture
def stage(house: Theatre, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """An installation of its own, at a thirtieth of the real times.

    What its processes said is shown when the test fails.
    """
    with house.stage() as made:
        yield made
        if request.node.stash.get(FAILED, False):
            print(made.texts())
