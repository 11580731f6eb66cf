"""The table on an instance: what check_fleet says of it, and what each role is able to do there."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenants.fleet import contract
from tenants.health import checks
from tenants.models import RdsInstance
from tests.instances import Instance, InstanceFleet
from tests.tenants.support_access.conftest import TABLE

PAGE = Path(__file__).parents[3] / "docs" / "support-access.md"
MORE = "more than it needs"


def statement(heading: str) -> str:
    """A statement of the page that applications copy, with psycopg's parameters."""
    section = re.split(r"^#+ ", PAGE.read_text(), flags=re.MULTILINE)
    text = next(one for one in section if one.startswith(f"{heading}\n"))
    body = text.partition("```sql\n")[2].partition("```")[0]
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", body)


REDEEM, REQUEST, END = map(statement, ("Redeem", "At each request", "End"))


def values(**given: object) -> dict[str, object]:
    return {
        "jti": uuid.uuid4(),
        "sub": "17",
        "tenant": "42",
        "act_name": "ann",
        "reason": "Invoice 118 shows no VAT",
        "ticket": "",
        "read_only": True,
        "session_seconds": 1800,
    } | given


def ended(jti: object, by: str = "rainbo: ann", **given: object) -> dict[str, object]:
    named = {"ghost_id": "17", "tenant_id": "42", "person": "ann"}
    return values(jti=jti) | named | {"ended_by": by} | given


def found(number: int = 2) -> list[str]:
    (checked,) = checks.check_fleet([RdsInstance.objects.get(pk=number)])
    return [f"{finding.level}: {finding.text}" for finding in checked.findings]


def about_support(number: int = 2) -> list[str]:
    return [text for text in found(number) if "support" in text]


class TestCheckFleet:
    def test_an_instance_without_the_table_has_no_error(self, set_up: InstanceFleet) -> None:
        (said,) = about_support(3)
        assert said.startswith("ok: support access is not set up here")
        assert not [text for text in found(3) if text.startswith("error")]

    def test_the_table_as_it_is_shipped_fits_exactly(self, set_up: InstanceFleet) -> None:
        set_up[2].execute(TABLE.read_text())  # it may be run again
        assert about_support() == [
            "ok: support_sessions.sql (shipped): tried, every column as it should be",
            "ok: end_support_session.sql (shipped): tried, every column as it should be",
        ]
        assert "ok: rainbo has the privileges that it needs, and no others" in found()
        assert set_up[2].execute("SELECT count(*) FROM rainbo_support_sessions") == [(0,)]

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (
                "REVOKE UPDATE (ended_at) ON rainbo_support_sessions FROM rainbo",
                "UPDATE (ended_at)",
            ),
            ("REVOKE INSERT (jti) ON rainbo_support_sessions FROM rainbo", "INSERT (jti)"),
            ("REVOKE SELECT (refused) ON rainbo_support_sessions FROM rainbo", "SELECT (refused)"),
            ("ALTER TABLE rainbo_support_sessions DROP COLUMN active_at", "active_at"),
            (
                "ALTER TABLE rainbo_support_sessions DROP CONSTRAINT rainbo_support_sessions_pkey",
                "ON CONFLICT",
            ),
            (
                "ALTER TABLE rainbo_support_sessions ALTER refused_at TYPE timestamp",
                "column refused_at is timestamp",
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, set_up: InstanceFleet, damage: str, said: str) -> None:
        set_up[2].execute(damage)
        errors = [text for text in found() if text.startswith("error")]
        assert said in "\n".join(errors)
        obeyed = [hit[0] for text in errors if (hit := re.search(r"GRANT .*;", text))]
        for grant in obeyed:
            set_up[2].execute(grant)
        if obeyed:
            assert not [text for text in found() if text.startswith("error")]

    def test_more_than_is_needed_is_warned_of(self, set_up: InstanceFleet) -> None:
        set_up[2].execute("GRANT UPDATE, DELETE ON rainbo_support_sessions TO rainbo")
        (warning,) = [text for text in found() if MORE in text]
        assert "rainbo_support_sessions" in warning


class TestRedeem:
    """By the statements of docs/support-access.md, as an application's owner of the table."""

    def redeem(self, instance: Instance, given: dict[str, Any]) -> bool:
        ((redeemed,),) = instance.execute(REDEEM, given)
        return bool(redeemed)

    def row(self, instance: Instance, jti: object, columns: str) -> tuple[Any, ...]:
        (row,) = instance.execute(
            f"SELECT {columns} FROM rainbo_support_sessions WHERE jti = %s", [jti]
        )
        return tuple(row)

    def test_of_a_hundred_at_once_one_succeeds(self, set_up: InstanceFleet) -> None:
        """Two application servers with ten connections each, and the same assertion."""
        given, instance = values(), set_up[2]

        def attempt(_: int) -> list[bool]:
            with instance.connect() as own:
                return [own.execute(REDEEM, given).fetchone()[0] for _ in range(5)]  # type: ignore[index]

        with ThreadPoolExecutor(20) as pool:
            answers = [one for many in pool.map(attempt, range(20)) for one in many]
        assert (len(answers), sum(answers)) == (100, 1)
        assert self.row(instance, given["jti"], "refused, refused_at IS NOT NULL") == (99, True)

    def test_a_replay_after_a_restart_is_refused(self, set_up: InstanceFleet) -> None:
        given = values()
        assert self.redeem(set_up[2], given)
        set_up[2].server.restart()
        assert not self.redeem(set_up[2], given)

    def test_an_ended_one_is_never_redeemed(self, set_up: InstanceFleet) -> None:
        given = values()
        end(set_up[2], ended(given["jti"]))
        assert not self.redeem(set_up[2], given)
        assert not set_up[2].execute(REQUEST, given)
        assert self.row(set_up[2], given["jti"], "redeemed_at, ended_by, refused") == (
            None,
            "rainbo: ann",
            1,
        )

    def test_each_request_is_counted_until_the_end(self, set_up: InstanceFleet) -> None:
        given, instance = values(), set_up[2]
        self.redeem(instance, given)
        for _ in range(3):
            assert instance.execute(REQUEST, given)[0][:4] == (
                "42",
                "ann",
                "Invoice 118 shows no VAT",
                True,
            )
        assert self.row(instance, given["jti"], "requests, active_at IS NOT NULL") == (3, True)
        end(instance, ended(given["jti"]))
        assert instance.execute(REQUEST, given) == []
        instance.execute(END, given)
        end(instance, ended(given["jti"], "rainbo: bob"))
        assert self.row(instance, given["jti"], "ended_by, requests") == ("rainbo: ann", 3)

    def test_the_time_ends_it_by_the_instances_own_clock(self, set_up: InstanceFleet) -> None:
        given, instance = values(), set_up[2]
        self.redeem(instance, given)
        instance.execute(
            "UPDATE rainbo_support_sessions SET redeemed_at = now() - interval '31 min', "
            "ends_at = now() - interval '1 s'"
        )
        assert instance.execute(REQUEST, given) == []

    def test_no_session_is_longer_than_an_hour(self, set_up: InstanceFleet) -> None:
        with pytest.raises(psycopg.errors.CheckViolation, match="one_hour"):
            self.redeem(set_up[2], values(session_seconds=3601))

    def test_the_database_down_leaves_nothing_half_done(self, set_up: InstanceFleet) -> None:
        given, instance = values(), set_up[2]
        with instance.connect(autocommit=False) as own:
            own.execute(REDEEM, given)
            instance.execute("CHECKPOINT")
            instance.server.kill()
            with pytest.raises(psycopg.OperationalError):
                own.commit()
        instance.server.start()
        assert self.redeem(instance, given), "what was not committed was not used up"


def end(instance: Instance, given: dict[str, Any]) -> None:
    """As RAINBO does it, by its own role."""
    with instance.connect_as_rainbo() as own:
        own.execute(contract.text("end_support_session"), given)


@pytest.mark.parametrize(
    "attempt",
    [
        REDEEM,
        REQUEST,
        "UPDATE rainbo_support_sessions SET ends_at = now() + interval '1 hour'",
        "UPDATE rainbo_support_sessions SET redeemed_at = now()",
        "DELETE FROM rainbo_support_sessions",
        "SELECT reason FROM rainbo_support_sessions",
    ],
)
def test_rainbos_role_reads_and_ends_and_does_nothing_else(
    set_up: InstanceFleet, attempt: str
) -> None:
    set_up[2].execute(REDEEM, values())
    with set_up[2].connect_as_rainbo() as own, pytest.raises(psycopg.errors.InsufficientPrivilege):
        own.execute(attempt, values())
