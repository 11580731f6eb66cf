from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncs.models import RunState, TargetState
from tests.caches import part, query, run_sync, shown_emails
from tests.instances import Instance
from tests.tenants.jobs.test_sync_user_routing import fill


@pytest.fixture
def tampered(master: Instance) -> Iterator[Instance]:
    """RAINBO's own table alters what is written to it, as a faulty merge would."""
    query(
        "CREATE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN NEW.user_name := 'somebody else'; RETURN NEW; END$$"
    )
    query(
        "CREATE TRIGGER tamper BEFORE INSERT OR UPDATE ON user_routes "
        "FOR EACH ROW WHEN (NEW.source_id = '7') EXECUTE FUNCTION tamper()"
    )
    yield master
    query("DROP FUNCTION IF EXISTS tamper() CASCADE")


def test_rows_that_do_not_equal_their_source_are_not_published(tampered: Instance) -> None:
    fill(tampered, 10)
    run = run_sync("user_routing")
    assert (run.state, part(run).state) == (RunState.FAILED, TargetState.FAILED)
    assert part(run).error_kind == "proof"
    assert "digests of cache and source differ; nothing was published" in part(run).error
    assert shown_emails() == []
    query("DROP TRIGGER tamper ON user_routes")
    assert run_sync("user_routing").state == RunState.SUCCEEDED
