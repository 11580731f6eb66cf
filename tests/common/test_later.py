"""Functions that are registered by their path."""

from __future__ import annotations

import subprocess
import sys

import pytest

from common import later as registered
from common.later import later, load_all

# What answers of RAINBO's own tables need none of: each takes a tenth of a second or more.
NEEDLESS = ("tenants.jobs.sync_", "tenants.fleet.connections", "alerts.channels", "rainbo.urls")
ASK = """
import sys, django
django.setup()
from django.core.management import get_commands, load_command_class
load_command_class(get_commands()[sys.argv[1]], sys.argv[1])
print(*sys.modules, sep="\\n")
"""


def test_it_calls_the_function_with_the_name_of_it() -> None:
    found = later("common.text.counted")
    assert found(2, "row") == "2 rows"
    assert f"{found.__module__}.{found.__qualname__}" == "common.text.counted"


def test_each_path_that_is_registered_leads_to_a_function() -> None:
    load_all()


def test_a_path_that_leads_nowhere_is_found_before_it_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registered, "_paths", set())
    later("common.text.forgotten")
    with pytest.raises(ImportError, match="forgotten"):
        load_all()


@pytest.mark.parametrize("command", ["rainbo_status", "find_user", "schedule_list"])
def test_a_command_that_answers_loads_no_sync_and_no_connection(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, command], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.splitlines()
    assert command in {name.rpartition(".")[2] for name in loaded}
    assert [name for name in loaded if name.startswith(NEEDLESS)] == []
