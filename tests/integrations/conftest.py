from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from localfleet.services import github
from localfleet.services.server import running


@pytest.fixture
def loopback(settings: Any) -> None:
    """Lets requests go to this machine, where the services of the tests are."""
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]


@pytest.fixture
def hub(loopback: None) -> Iterator[github.GitHub]:
    with running(github.GitHub()) as service:
        yield cast("github.GitHub", service)
