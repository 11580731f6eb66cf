"""An application whose database is a standby: it redeems nothing, and its writer does."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfleet.folders import local_root, scratch_root
from tests.deploy.support_access.applications import LANGUAGES, SHIPPED, Given, rows, running
from tests.deploy.support_access.tokens import KeySet
from tests.http_servers import receiver
from tests.instances import InstanceFleet
from tests.standby import catch_up, standby

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]


def test_a_standby_redeems_nothing_and_its_writer_does(
    fleet: InstanceFleet, tmp_path: Path
) -> None:
    there = fleet[2]
    there.execute((SHIPPED / "support_sessions.sql").read_text())
    there.add_tenant(42, "Acme")
    named = {"rainbo_admin_id": "5", "is_ghost_admin": True}
    there.add_user(17, None, "ghost5@system.internal", **named)
    with (
        scratch_root(local_root()) as root,
        standby(root, there.server) as reader,
        receiver() as published,
    ):
        catch_up(there.server, reader)
        # A standby has the roles of its primary, and so their passwords.
        (root / "standby.password").write_text(there.server.password)
        keyset = KeySet(published)
        writing = Given(there.server, published.url(), tmp_path)
        reading = Given(reader, published.url(), tmp_path)
        for language in LANGUAGES:
            token = keyset.sign()
            with (
                running(language, reading) as (reads,),
                running(language, writing) as (writes,),
            ):
                answer = reads.enter(token)
                assert (language, answer.status, answer.cookie) == (language, 503, "")
                assert rows(there, "jti") == []
                assert writes.enter(token).status == 303
            there.execute("DELETE FROM rainbo_support_sessions")
    there.execute("DROP TABLE rainbo_support_sessions")
