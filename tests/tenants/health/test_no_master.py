"""A fleet whose master was taken away."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from common.clock import database_now
from common.errors import UsageError
from syncs.status import problems
from tenants.models import RdsInstance
from tests.caches import run_sync
from tests.instances import InstanceFleet


def texts() -> list[str]:
    return [problem.text for problem in problems.judge(problems.read(database_now()))]


def test_it_is_a_severe_problem_once_routes_were_read(registered: InstanceFleet) -> None:
    RdsInstance.objects.update(is_master=False)
    assert not [text for text in texts() if "no instance is the master" in text]
    RdsInstance.objects.filter(pk=1).update(is_master=True)
    registered.master.add_route(1, "ann@example.com")
    run_sync("user_routing")
    RdsInstance.objects.update(is_master=False)
    (text,) = [text for text in texts() if "no instance is the master" in text]
    assert "1 routes are no longer refreshed" in text


def test_the_command_refuses_to_clear_the_only_master(registered: InstanceFleet) -> None:
    with pytest.raises(UsageError, match="mark another instance as the master"):
        call_command("add_instance", "--update", "--id=1", "--no-master")
    call_command("add_instance", "--update", "--id=2", "--master", "--no-check")
    assert [row.pk for row in RdsInstance.objects.filter(is_master=True)] == [2]
