"""Invalid options are refused before anything is stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command

from syncs.models import RunState, SyncRun
from tests.caches import run_sync, shown_emails
from tests.instances import InstanceFleet

Refused = Callable[..., Callable[[], str]]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must end with 2; returns what reads its error."""

    def run(*words: str) -> Callable[[], str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            call_command(*words)
        assert end.value.code == 2
        return lambda: capsys.readouterr().err

    return run


def test_a_blank_reason_accepts_nothing(registered: InstanceFleet, refused: Refused) -> None:
    for number in range(1, 101):
        registered.master.add_route(number, f"u{number}@example.com")
    run_sync("user_routing")
    registered.master.execute("DELETE FROM user_email_routing WHERE id > 50")
    held = run_sync("user_routing")
    assert held.state == RunState.HELD
    for reason in ("", " ", "\t\n"):
        said = refused("sync_user_routing", f"--accept-held={held.pk}", f"--reason={reason}")
        assert "needs a reason" in said()
    assert len(shown_emails()) == 100


def test_a_retry_of_a_run_in_which_nothing_failed_is_not_stored(
    registered: InstanceFleet, refused: Refused
) -> None:
    done = run_sync("tenant_summaries")
    said = refused("sync_tenant_summaries", f"--failed-from={done.pk}")
    assert f"nothing failed in run {done.pk}" in said()
    assert SyncRun.objects.count() == 1


def test_a_reason_without_a_held_run_is_refused(
    registered: InstanceFleet, refused: Refused
) -> None:
    assert "needs --accept-held RUN" in refused("sync_user_routing", "--reason=because")()


@pytest.mark.parametrize("seconds", ["99999999999999", "-3", "0", "nan", "inf", "soon"])
def test_a_time_limit_that_nobody_waits_for_is_refused(seconds: str, db: None) -> None:
    with pytest.raises(CommandError, match="is not a number of seconds from 1 to 300"):
        call_command("find_user", "ann@example.com", "--live", f"--within={seconds}")
