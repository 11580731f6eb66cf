from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from pytest_django import Settings

from common.errors import UsageError
from tenants.health import checks
from tenants.models import GhostUser, RdsInstance
from tests.instances import InstanceFleet

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs check_fleet on some instances and returns its exit code and document."""

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        code = 0
        try:
            call_command("check_fleet", "--json", *words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, json.loads(capsys.readouterr().out)

    return run


def texts(document: dict[str, Any], level: str, number: int = 1) -> list[str]:
    one = next(one for one in document["instances"] if one["id"] == number)
    return [finding["text"] for finding in one["findings"] if finding["level"] == level]


def test_a_fleet_as_it_should_be(registered: InstanceFleet, check: Any) -> None:
    code, document = check()
    assert code == 0
    assert [one["ok"] for one in document["instances"]] == [True, True, True]
    assert document["fleet"] == [{"level": "ok", "text": "instance 1 (rds1) is the master"}]
    fine = "\n".join(texts(document, "ok"))
    for words in (
        "reached, not encrypted (ssl mode disable)",
        "PostgreSQL 18",
        "rainbo has the privileges that it needs, and no others",
        "sync_tenant_summaries.sql (shipped): tried, every column as it should be",
        "sync_user_routing.sql (shipped): tried, every column as it should be",
        "sync_ghost_users.sql (shipped): tried, every column as it should be",
        "sync_instance_health.sql (shipped): tried, every column as it should be",
        "find_user.sql (shipped): tried, every column as it should be",
    ):
        assert words in fine
    # A busy machine may take some tenths of a second for the answer that the clock comes with.
    assert re.search(r"^clock within \d\.\d s of ours$", fine, re.MULTILINE)


def test_a_weaker_ssl_mode_is_warned_of(registered: InstanceFleet, check: Any) -> None:
    code, document = check()
    assert code == 0
    assert texts(document, "warning") == [
        "ssl mode disable does not prove who the server is: use verify-full"
    ]


def test_the_directory_is_asked_of_the_master_alone(registered: InstanceFleet, check: Any) -> None:
    _, document = check("--rds", "2")
    assert len(document["instances"]) == 1
    assert "sync_user_routing" not in "".join(texts(document, "ok", 2))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            "REVOKE SELECT ON locations FROM rainbo",
            (
                "rainbo is missing SELECT (tenant_id) on table public.locations, needed by "
                "sync_tenant_summaries.sql (shipped): "
                "GRANT SELECT (tenant_id) ON public.locations TO rainbo;"
            ),
        ),
        (
            "REVOKE SELECT ON user_email_routing FROM rainbo",
            (
                "GRANT SELECT (id, email, tenant_id, rds_instance_id, user_id, user_name, status, "
                "updated_at) ON public.user_email_routing TO rainbo;"
            ),
        ),
        (
            "ALTER TABLE tenants DROP COLUMN name",
            "sync_tenant_summaries.sql (shipped): the query does not fit",
        ),
        (
            "ALTER TABLE users ALTER last_login_at TYPE timestamp",
            "column last_activity_at is timestamp, not timestamptz (write last_activity_at AT TIME",
        ),
        (
            "REVOKE INSERT (email) ON users FROM rainbo",
            "GRANT INSERT (email) ON public.users TO rainbo;",
        ),
        (
            "REVOKE UPDATE (status) ON users FROM rainbo",
            "GRANT UPDATE (status) ON public.users TO rainbo;",
        ),
        (
            "REVOKE ALL ON SCHEMA public FROM rainbo, PUBLIC",
            "GRANT USAGE ON SCHEMA public TO rainbo;",
        ),
        (
            "ALTER TABLE users DROP COLUMN rainbo_admin_id",
            "sync_ghost_users.sql (shipped): the query does not",
        ),
        (
            (
                "CREATE SEQUENCE numbers; ALTER TABLE users ALTER id DROP IDENTITY, "
                "ALTER id SET DEFAULT nextval('numbers')"
            ),
            "GRANT USAGE ON SEQUENCE public.numbers TO rainbo;",
        ),
    ],
)
def test_what_is_missing_is_named(
    registered: InstanceFleet, check: Any, damage: str, words: str
) -> None:
    registered.master.execute(damage)
    code, document = check()
    assert code == 1
    assert words in "\n".join(texts(document, "error"))
    assert texts(document, "error", 2) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("ALTER ROLE rainbo SUPERUSER", "rainbo is SUPERUSER, more than it needs"),
        ("ALTER ROLE rainbo CREATEDB CREATEROLE", "ALTER ROLE rainbo NOCREATEDB NOCREATEROLE;"),
        ("GRANT SELECT ON users TO rainbo", "rainbo can read public.users.password"),
        ("GRANT pg_read_all_data TO rainbo", "rainbo can read passwords through pg_read_all_data"),
        ("GRANT DELETE ON tenants TO rainbo", "rainbo can write to public.tenants"),
        ("GRANT UPDATE (name) ON tenants TO rainbo", "rainbo can write to public.tenants"),
        ("GRANT UPDATE ON users TO rainbo", "rainbo can write to public.users"),
    ],
)
def test_more_than_needed_is_warned_of(
    registered: InstanceFleet, check: Any, damage: str, words: str
) -> None:
    registered.master.execute(damage)
    code, document = check()
    assert code == 0
    assert words in "\n".join(texts(document, "warning"))


def test_an_instance_that_is_down_is_an_error(registered: InstanceFleet, check: Any) -> None:
    registered[2].server.stop()
    code, document = check()
    assert code == 1
    assert "refused the connection" in texts(document, "error", 2)[0]
    assert document["instances"][0]["ok"]


def test_a_weaker_login_is_warned_of(registered: InstanceFleet, check: Any) -> None:
    row = RdsInstance.objects.get(pk=2)
    row.require_auth = "md5"
    row.set_password(registered[2].rainbo_password)
    row.save()
    code, document = check()
    assert code == 1
    assert "logging in by md5 is weaker" in "".join(texts(document, "warning", 2))
    assert "requires another authentication method than md5" in texts(document, "error", 2)[0]


def test_a_fleet_without_a_master(registered: InstanceFleet, check: Any) -> None:
    RdsInstance.objects.update(is_master=False)
    code, document = check()
    assert code == 1
    assert document["fleet"][0]["level"] == "error"


def test_an_inactive_instance_is_checked_when_named(registered: InstanceFleet, check: Any) -> None:
    RdsInstance.objects.filter(pk=3).update(is_active=False)
    assert [one["id"] for one in check()[1]["instances"]] == [1, 2]
    assert [one["id"] for one in check("--rds=3")[1]["instances"]] == [3]


def test_an_unknown_instance_is_wrong_usage(registered: InstanceFleet) -> None:
    with pytest.raises(UsageError, match="no instance has the id 7"):
        call_command("check_fleet", "--rds=7")


def test_people_read_one_line_a_finding(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("check_fleet", "--rds=1")
    said = capsys.readouterr().out
    assert "instance 1 (rds1) at 127.0.0.1:" in said
    assert "  warning  ssl mode disable" in said
    assert registered.master.rainbo_password not in said


def test_nothing_is_remembered(registered: InstanceFleet, check: Any) -> None:
    check()
    assert RdsInstance.objects.get(pk=1).identity == ""


def test_what_a_server_says_does_not_steer_the_terminal(
    registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    registered[2].execute('CREATE TABLE "\x1b[2J" (id int)')
    registered[2].execute('GRANT INSERT ON "\x1b[2J" TO rainbo')
    call_command("check_fleet", "--rds", "2")
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\u001b[2J" in said


def test_the_page_of_instances_grants_what_is_needed(registered: InstanceFleet, check: Any) -> None:
    page = (settings.BASE_DIR / "docs/instances.md").read_text()
    block = page.partition("```sql\n")[2].partition("```")[0]
    registered.master.execute("DROP OWNED BY rainbo")
    registered.master.execute(block.partition("\\password rainbo")[2])
    code, document = check("--rds", "1")
    assert code == 0
    assert texts(document, "warning") == [
        "ssl mode disable does not prove who the server is: use verify-full"
    ]


GHOSTS_SAY = "sync_ghost_users.sql (shipped): "


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            "ALTER TABLE users ADD COLUMN phone text NOT NULL",
            'null value in column "phone" of relation "users" violates not-null constraint',
        ),
        (
            "ALTER TABLE users ALTER tenant_id SET NOT NULL",
            'null value in column "tenant_id" of relation "users" violates not-null constraint',
        ),
        (
            "ALTER TABLE users ALTER created_at DROP DEFAULT",
            'null value in column "created_at" of relation "users" violates not-null constraint',
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT corporate CHECK (email LIKE '%@corp.example')",
            'violates check constraint "corporate"',
        ),
        (
            (
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE 'no accounts by hand'; END $$; CREATE TRIGGER refuse BEFORE INSERT "
                "ON users FOR EACH ROW EXECUTE FUNCTION refuse()"
            ),
            "no accounts by hand",
        ),
        (
            (
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE 'nobody leaves'; END $$; CREATE TRIGGER refuse BEFORE UPDATE "
                "ON users FOR EACH ROW EXECUTE FUNCTION refuse()"
            ),
            "nobody leaves",
        ),
        (
            (
                "CREATE FUNCTION ignore() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RETURN NULL; END $$; CREATE TRIGGER ignore BEFORE INSERT "
                "ON users FOR EACH ROW EXECUTE FUNCTION ignore()"
            ),
            "should answer with one row of the outcome created, and it answered: missed",
        ),
        (
            (
                "CREATE TABLE badges (user_id bigint PRIMARY KEY); "
                "ALTER TABLE users ADD CONSTRAINT badge FOREIGN KEY (id) REFERENCES badges "
                "DEFERRABLE INITIALLY DEFERRED"
            ),
            'violates foreign key constraint "badge"',
        ),
    ],
)
def test_the_ghost_statement_is_run_for_an_invented_admin(
    registered: InstanceFleet, check: Any, damage: str, words: str
) -> None:
    registered.master.execute(damage)
    code, document = check("--rds", "1")
    assert code == 1
    (text,) = texts(document, "error")
    assert text.startswith(GHOSTS_SAY)
    assert words in text


def test_the_statement_of_the_page_is_all_that_ghosts_need(
    registered: InstanceFleet, check: Any
) -> None:
    """docs/source-contract.md on the users table of an application that knows no ghosts"""
    registered[2].execute(
        "ALTER TABLE users DROP is_ghost_admin, DROP rainbo_admin_id, DROP rainbo_installation, "
        "ALTER tenant_id SET NOT NULL, ALTER created_at DROP DEFAULT, ALTER updated_at DROP DEFAULT"
    )
    code, document = check("--rds", "2")
    assert code == 1
    assert any(
        '"The standard schema" in docs/source-contract.md' in t for t in texts(document, "error", 2)
    )
    page = (DOCS / "source-contract.md").read_text(encoding="utf-8")
    registered[2].execute(
        page.partition("## The standard schema")[2].split("```sql")[1].split("```")[0]
    )
    granted = (DOCS / "instances.md").read_text(encoding="utf-8").partition("-- for ghost users:")
    for statement in re.findall(r"GRANT [^;]*\bON users TO rainbo;", granted[0] + granted[2]):
        registered[2].execute(statement)
    code, document = check("--rds", "2")
    assert (code, texts(document, "error", 2)) == (0, [])
    assert f"{GHOSTS_SAY}tried, every column as it should be" in texts(document, "ok", 2)


def test_the_invented_admin_leaves_nothing(registered: InstanceFleet, check: Any) -> None:
    registered.master.execute(
        "CREATE TABLE seen (email text); CREATE FUNCTION note() RETURNS trigger "
        "LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO seen VALUES (new.email); "
        "RETURN new; END $$; CREATE TRIGGER note AFTER INSERT OR UPDATE ON users "
        "FOR EACH ROW EXECUTE FUNCTION note()"
    )
    code, _ = check("--rds", "1")
    assert code == 0
    assert registered.master.execute("SELECT email FROM users UNION SELECT email FROM seen") == []


def own(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / f"{name}.sql").write_text(text)


@pytest.fixture
def own_files(settings: Settings, tmp_path: Path) -> Path:
    settings.RAINBO_SOURCE_SQL = tmp_path
    return tmp_path


USERS = "id, tenant_id, email, name, status, last_login_at"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "find_user",
            f"SELECT {USERS} FROM users UNION ALL SELECT {USERS} FROM users",
            "find_user.sql: there is more than one row with id 7, and ids are unique",
        ),
        (
            "find_user",
            f"SELECT NULL::bigint AS {USERS} FROM users",
            "find_user.sql: there is a row without an id",
        ),
        (
            "find_user",
            f"SELECT {USERS}, password FROM users",
            "find_user.sql reads public.users.password, and RAINBO asks for no secrets",
        ),
        (
            "find_user",
            (
                "SELECT id, tenant_id, email, (1 / (id - 7))::text AS name, status, last_login_at "
                "FROM users"
            ),
            "find_user.sql: instance 1 (rds1) has a value that can't be read: division by zero",
        ),
        (
            "find_user",
            "SELECT id, tenant_id, email, name, last_login_at FROM users",
            "find_user.sql: column status is missing",
        ),
        (
            "sync_instance_health",
            "SELECT 'x' AS version, now() AS clock, 1 AS connections",
            'sync_instance_health.sql: the query does not fit instance 1 (rds1): column "max_conn',
        ),
        (
            "sync_ghost_users",
            "SELECT %(ids)s::text[] AS admin_id, 'x' AS id, 'created' AS outcome, NULL AS why",
            "sync_ghost_users.sql: it returns admin_id, id, outcome, why, not admin_id, remote_id,",
        ),
    ],
)
def test_each_query_is_proved_by_its_file(
    registered: InstanceFleet, own_files: Path, check: Any, name: str, text: str, words: str
) -> None:
    registered.master.add_user(7, None, "ann@example.com")
    own(own_files, name, text)
    code, document = check("--rds", "1")
    assert code == 1
    assert words in "\n".join(texts(document, "error"))


def test_more_columns_than_the_health_probe_needs_are_ignored(
    registered: InstanceFleet, own_files: Path, check: Any
) -> None:
    own(
        own_files,
        "sync_instance_health",
        "SELECT 'x' AS version, clock_timestamp() AS clock, 1 AS connections, "
        "2 AS max_connections, 3 AS more",
    )
    code, document = check("--rds", "1")
    assert code == 0
    assert "sync_instance_health.sql: tried" in "\n".join(texts(document, "ok"))


def test_a_file_that_fits_no_query_is_named(
    registered: InstanceFleet, own_files: Path, check: Any
) -> None:
    own(own_files, "tenant_summaries", "SELECT 1")
    _, document = check("--rds", "1")
    assert (
        "tenant_summaries.sql in RAINBO_SOURCE_SQL fits no query and is not used: the names are "
        "sync_user_routing.sql, sync_tenant_summaries.sql, "
    ) in "\n".join(texts(document, "warning"))


def test_foreign_tables_are_named(registered: InstanceFleet, own_files: Path, check: Any) -> None:
    registered.master.execute(
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; "
        "CREATE FOREIGN TABLE elsewhere (id bigint, tenant_id bigint, email text, name text, "
        "status text, last_login_at timestamptz) SERVER files OPTIONS (filename '/dev/null'); "
        "GRANT SELECT ON elsewhere TO rainbo; GRANT pg_read_server_files TO rainbo"
    )
    own(own_files, "find_user", f"SELECT {USERS} FROM elsewhere")
    _, document = check("--rds", "1")
    assert (
        "foreign tables, whose replacement during a read can't be noticed: public.elsewhere"
        in texts(document, "ok")
    )


def test_a_slow_query_is_not_called_wrong(
    registered: InstanceFleet, own_files: Path, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "TRYING", 0.2 / checks.LIMIT)
    registered.master.add_user(7, None, "ann@example.com")
    own(own_files, "find_user", f"SELECT {USERS} FROM users, pg_sleep(1)")
    code, document = check("--rds", "1")
    assert code == 0
    assert "find_user.sql: not known within 0.2 s whether it reads without errors" in "".join(
        texts(document, "warning")
    )


@pytest.mark.parametrize(
    "body",
    [
        "EXECUTE 'INSERT INTO audit_log VALUES ($1)' USING new.email; RETURN new;",
        "PERFORM note(new.email); RETURN new;",
    ],
)
def test_what_a_trigger_builds_is_not_called_superfluous(
    registered: InstanceFleet, check: Any, body: str
) -> None:
    registered.master.execute(
        "CREATE TABLE audit_log (email text); GRANT INSERT ON audit_log TO rainbo; "
        "CREATE FUNCTION note(text) RETURNS void LANGUAGE plpgsql AS "
        "$$ BEGIN EXECUTE format('INSERT INTO audit_log VALUES (%L)', $1); END $$; "
        f"CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$; "
        "CREATE TRIGGER audit AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION audit()"
    )
    code, document = check("--rds", "1")
    assert code == 0
    assert len(texts(document, "warning")) == 1  # of the ssl mode
    assert "() reads and writes can't be known" in "\n".join(texts(document, "ok"))


def test_a_query_that_the_parser_cannot_read_takes_no_right_away(
    registered: InstanceFleet, own_files: Path, check: Any
) -> None:
    own(own_files, "sync_ghost_users", "NOTHING OF SQL %(ids)s")
    code, document = check("--rds", "1")
    assert code == 1
    assert "REVOKE" not in "".join(texts(document, "warning"))
    assert "sync_ghost_users.sql: " in texts(document, "error")[0]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            (
                "CREATE TABLE audit_log (email text); CREATE FUNCTION audit() RETURNS trigger "
                "LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'INSERT INTO audit_log VALUES (1)'; "
                "RETURN new; END $$; CREATE TRIGGER audit AFTER INSERT ON users FOR EACH ROW "
                "EXECUTE FUNCTION audit()"
            ),
            "sync_ghost_users.sql (shipped): permission denied for table audit_log, which the",
        ),
        (
            (
                "CREATE ROLE keeper; ALTER TABLE locations RENAME TO places; "
                "GRANT CREATE ON SCHEMA public TO keeper; "
                "CREATE VIEW locations AS SELECT * FROM places; "
                "ALTER VIEW locations OWNER TO keeper; "
                "GRANT SELECT ON locations TO rainbo"
            ),
            "sync_tenant_summaries.sql (shipped): permission denied for table places, which the",
        ),
    ],
)
def test_advice_does_not_send_in_a_circle(
    registered: InstanceFleet, check: Any, damage: str, words: str
) -> None:
    registered.master.execute(damage)
    try:
        code, document = check("--rds", "1")
    finally:
        if "keeper" in damage:
            registered.master.execute("DROP OWNED BY keeper CASCADE; DROP ROLE keeper")
    assert code == 1
    (text,) = texts(document, "error")
    assert text.startswith(words)
    assert "check_fleet" not in text


def test_an_instance_is_checked_by_the_files_of_its_group(
    registered: InstanceFleet, own_files: Path, check: Any
) -> None:
    (own_files / "v2").mkdir()
    own(own_files / "v2", "find_user", f"SELECT {USERS} FROM people")
    own(own_files / "v2", "find_users", "SELECT 1")
    registered[2].execute("ALTER TABLE users RENAME TO people")
    RdsInstance.objects.filter(pk=2).update(schema_group="v2", has_ghosts=False, has_tenants=True)
    _, document = check("--rds", "2")
    assert "v2/find_user.sql: tried" in "\n".join(texts(document, "ok", 2))
    assert "v2/find_users.sql in RAINBO_SOURCE_SQL" in "".join(texts(document, "warning", 2))
    assert "sync_tenant_summaries.sql (shipped): " in texts(document, "error", 2)[0]


def test_what_an_instance_does_not_have_is_not_asked_for(
    registered: InstanceFleet, check: Any
) -> None:
    RdsInstance.objects.filter(pk=1).update(has_tenants=False, has_ghosts=False)
    registered.master.execute("DROP TABLE users, locations")
    code, document = check("--rds", "1")
    assert code == 0
    assert "sync_user_routing.sql (shipped): tried" in "\n".join(texts(document, "ok"))


@pytest.mark.parametrize("confirmed", ["active", "inactive"])
def test_ghosts_that_are_left_keep_their_rights(
    registered: InstanceFleet, check: Any, confirmed: str
) -> None:
    RdsInstance.objects.filter(pk=1).update(has_ghosts=False)
    GhostUser.objects.create(instance_id=1, admin_id=5, wanted="inactive", confirmed=confirmed)
    _, document = check("--rds", "1")
    superfluous = "can write to public.users" in "".join(texts(document, "warning"))
    assert superfluous == (confirmed == "inactive")
