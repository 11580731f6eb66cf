"""The recipes of docs/recipes, followed word by word on real servers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from pytest_django import Settings

from localfleet.folders import local_root, scratch_root
from localfleet.servers import databases
from syncs.models import RunState, SyncRun
from tenants.health import checks
from tenants.models import RdsInstance, Tenant
from tests import pooler
from tests.caches import shown_emails
from tests.fleet_fixtures import needs
from tests.instances import Instance, InstanceFleet
from tests.rows import staff
from tests.standby import catch_up, standby

PAGES = Path(__file__).parents[2] / "docs" / "recipes"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEPLOY = Path(__file__).parents[2] / "deploy"
SUPPORT_TABLE = (DEPLOY / "support_access" / "support_sessions.sql").read_text(encoding="utf-8")
ON_THE_INSTANCE = "-- On the instance, "
FILE = "-- RAINBO_SOURCE_SQL/"
MANAGE = "python manage.py "


Follow = Callable[..., None]


@pytest.fixture
def follow(registered: InstanceFleet, settings: Settings, tmp_path: Path) -> Iterator[Follow]:
    """Follows a page: its statements, its files, its commands, in this order of the page.

    Takes the page, the name of the database in it, the schema that the page presupposes, and the
    names in it that this schema has others for.
    """
    settings.RAINBO_SOURCE_SQL = tmp_path / "sql"
    settings.RAINBO_SOURCE_SQL.mkdir()
    server = registered[2].server
    made: list[str] = []

    def run(page: str, database: str, before: str, names: Mapping[str, str] = {}) -> None:
        databases.create(server, database)
        made.append(database)
        secret = tmp_path / "secret"
        secret.write_text(registered[2].rainbo_password)
        with server.connect(database) as owner:
            owner.execute(before.encode())
            for kind, text in blocks(page):
                body = renamed(text, names) if kind == "sql" else text
                if kind == "sql" and body.startswith(ON_THE_INSTANCE):
                    owner.execute(placed(body, registered).encode())
                elif kind == "sql":
                    assert body.startswith(FILE), body
                    write(settings.RAINBO_SOURCE_SQL, body)
                else:
                    for line in body.splitlines():
                        assert line.startswith(MANAGE)
                        command(line.removeprefix(MANAGE), registered[2], secret)

    yield run
    for database in made:
        databases.drop(server, database)


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the text of each block of a page."""
    return BLOCK.findall((PAGES / f"{page}.md").read_text(encoding="utf-8"))


def renamed(text: str, names: Mapping[str, str]) -> str:
    words = "|".join(names) or "(?!)"
    return re.sub(rf"\b({words})\b", lambda found: names[found[0]], text)


def placed(statements: str, fleet: InstanceFleet) -> str:
    """The statements with the addresses and passwords of the test's servers."""
    for number in (2, 3):
        instance = fleet[number]
        statements = statements.replace(
            f"host 'db{number}.example.com', port '5432'",
            f"host '{instance.host}', port '{instance.port}'",
        ).replace(f"'of db{number}'", f"'{instance.rainbo_password}'")
    return statements


def write(folder: Path, body: str) -> None:
    path = folder / body.partition("\n")[0].removeprefix(FILE)
    path.parent.mkdir(exist_ok=True)
    path.write_text(body, encoding="utf-8")


def command(
    line: str, instance: Instance, secret: Path, port: int | None = None, writer: int | None = None
) -> None:
    """Run a line with the test's addresses. port: of the instance; writer: of its primary."""
    name, *words = shlex.split(line)
    if name == "add_instance":
        places = {"--host": instance.host, "--password-file": str(secret)}
        if writer is not None:
            places["--writer-host"] = instance.host
            words += ["--writer-port", str(writer)]
        for option, value in places.items():
            words[words.index(option) + 1] = value
        words += ["--port", str(instance.port if port is None else port), "--ssl-mode", "disable"]
    code = None
    try:
        call_command(name, *words)
    except SystemExit as end:
        code = end.code
    assert not code, line


def tenants() -> list[tuple[str, str, int | None, int | None]]:
    rows = Tenant.objects.filter(instance_id=4).order_by("remote_id")
    return list(rows.values_list("name", "status", "user_count", "location_count"))


CLIENTS = """
    CREATE TABLE public.clients (
        id int, schema_name text, name text, on_trial bool, paid_until date);
    CREATE TABLE public.staff (
        id serial PRIMARY KEY, email text NOT NULL UNIQUE, full_name text, password text NOT NULL,
        is_active bool NOT NULL);
    INSERT INTO public.staff (email, password, is_active) VALUES ('eve@example.com', 'x', true);
    CREATE FUNCTION add_client(number int) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN
        EXECUTE format('CREATE SCHEMA t%1$s;
            CREATE TABLE t%1$s.users (id serial, email text, full_name text, password text,
                                      is_active bool, last_login timestamptz);
            CREATE TABLE t%1$s.locations (id serial, name text);
            INSERT INTO t%1$s.users (email, is_active)
            SELECT ''u'' || n || ''@t%1$s.example.com'', n > 1 FROM generate_series(1, 3) AS n;
            INSERT INTO t%1$s.locations (name) VALUES (''here'')', number);
        INSERT INTO public.clients VALUES (number, 't' || number, 'Client ' || number, number = 2,
                                           '2027-01-01');
    END $f$;
    SELECT add_client(1), add_client(2)"""
PRISMA = """
    CREATE TABLE "Tenant" ("id" text PRIMARY KEY, "name" text, "createdAt" timestamp(3));
    CREATE TABLE "User" ("id" text PRIMARY KEY, "tenantId" text, "email" text, "name" text,
        "passwordHash" text, "isActive" bool, "lastLoginAt" timestamp(3));
    CREATE TABLE "Location" ("id" text PRIMARY KEY, "tenantId" text);
    INSERT INTO "Tenant" VALUES ('ck1', 'Acme', '2026-01-02 03:04:05'), ('ck2', 'Globex', NULL);
    INSERT INTO "User" VALUES ('u1', 'ck1', 'ann@example.com', 'Ann', 'x', true, NULL),
                              ('u2', 'ck1', 'bob@example.com', 'Bob', 'x', false, NULL);
    INSERT INTO "Location" VALUES ('l1', 'ck2')"""

# As `migrate` of either makes it; "password" and the like are the page's names of Laravel.
TEAMS = """
    CREATE TABLE teams (
        id bigserial PRIMARY KEY, name varchar(255) NOT NULL, stripe_id varchar(255),
        trial_ends_at timestamp(0), created_at timestamp(0), updated_at timestamp(0),
        deleted_at timestamp(0));
    CREATE TABLE users (
        id bigserial PRIMARY KEY, name varchar(255) NOT NULL, email varchar(255) NOT NULL UNIQUE,
        password varchar(255) NOT NULL, remember_token varchar(100), last_seen_at timestamp(0),
        created_at timestamp(0), updated_at timestamp(0), deleted_at timestamp(0));
    CREATE TABLE team_user (
        id bigserial PRIMARY KEY, team_id bigint REFERENCES teams (id),
        user_id bigint REFERENCES users (id), role varchar(255), UNIQUE (team_id, user_id));
    INSERT INTO teams (name, stripe_id, trial_ends_at, created_at, deleted_at) VALUES
        ('Acme', 'cus_1', NULL, '2026-01-02 03:04:05', NULL),
        ('Globex', NULL, '2027-01-01', '2026-02-01', NULL),
        ('Initech', 'cus_3', NULL, '2025-01-01', '2026-03-01');
    INSERT INTO users (name, email, password, last_seen_at, updated_at, deleted_at) VALUES
        ('Ann', 'ann@example.com', '$2y$12$x', '2026-11-01 10:00', '2026-11-01', NULL),
        ('Bob', 'bob@example.com', '$2y$12$y', NULL, '2026-11-01', '2026-11-02'),
        ('Cid', 'cid@example.com', '$2y$12$z', NULL, '2026-11-01', NULL);
    INSERT INTO team_user (team_id, user_id, role) VALUES
        (1, 1, 'owner'), (1, 2, 'member'), (2, 1, 'member'), (2, 3, 'owner')"""


def test_every_page_is_followed() -> None:
    followed = {
        *("schema-per-tenant", "prisma", "laravel-and-rails", "no-directory", "directory-only"),
        *("replica-and-writer", "pgbouncer"),
    }
    assert {page.stem for page in PAGES.glob("*.md")} == followed | {"README"}


def test_a_schema_per_tenant(follow: Follow, registered: InstanceFleet) -> None:
    ann = staff("ann", is_superuser=True)
    follow("schema-per-tenant", "crm", CLIENTS)
    both = [("Client 1", "active", 2, 1), ("Client 2", "trial", 2, 1)]
    assert tenants() == both
    with registered[2].server.connect("crm") as owner:
        owner.execute("SELECT add_client(3)")
        ghosts = "SELECT password, is_active FROM staff WHERE is_ghost_admin"
        assert owner.execute(ghosts).fetchall() == [("!", True)]
        type(ann).objects.filter(pk=ann.pk).update(is_active=False)
        call_command("sync_ghost_users", "--rds=4")
        assert owner.execute(ghosts).fetchall() == [("!", False)]
        set_up_support_access("crm", owner)
        rights = "SELECT has_table_privilege('rainbo', 'staff', 'SELECT, INSERT, UPDATE')"
        assert owner.execute(rights).fetchall() == [(False,)]
    call_command("sync_tenant_summaries", "--rds=4", "--force")
    assert tenants() == [*both, ("Client 3", "active", 2, 1)]


def set_up_support_access(database: str, owner: psycopg.Connection) -> None:
    """As docs/support-access.md says; check_fleet names what is missing, and then nothing."""

    def said() -> str:
        (checked,) = checks.check_fleet([RdsInstance.objects.get(pk=4)])
        found = [f"{finding.level}: {finding.text}" for finding in checked.findings]
        return "\n".join(text for text in found if not text.startswith("warning: ssl mode"))

    assert "ok: support access is not set up here" in said(), database
    owner.execute(SUPPORT_TABLE.encode())
    set_up = said()
    for file in ("support_sessions", "end_support_session"):
        assert f"ok: {file}.sql (shipped): tried, every column as it should be" in set_up
    assert "error" not in set_up
    assert "warning" not in set_up
    owner.execute("REVOKE ALL ON rainbo_support_sessions FROM rainbo")
    broken = said()
    assert "error" in broken
    statements = re.findall(r"GRANT [^;]* TO rainbo;", broken)
    assert any("rainbo_support_sessions" in one for one in statements), broken
    for statement in statements:
        owner.execute(statement.encode())
    assert said() == set_up


def test_names_in_mixed_case(follow: Follow) -> None:
    follow("prisma", "shop", PRISMA)
    assert tenants() == [("Acme", "active", 1, 0), ("Globex", "active", 0, 1)]
    started = Tenant.objects.get(name="Acme").subscription_started_at
    assert started is not None
    assert started.isoformat() == "2026-01-02T03:04:05+00:00"


def rails() -> dict[str, str]:
    """The page's table of names."""
    page = (PAGES / "laravel-and-rails.md").read_text(encoding="utf-8").partition("## In Rails")[2]
    return dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", page, re.MULTILINE))


@pytest.mark.parametrize("framework", ["Laravel", "Rails"])
def test_teams_and_memberships(
    follow: Follow,
    registered: InstanceFleet,
    capsys: pytest.CaptureFixture[str],
    framework: str,
) -> None:
    names = rails() if framework == "Rails" else {}
    ann = staff("ann", is_superuser=True)
    follow("laravel-and-rails", "saas", renamed(TEAMS, names), names)
    said = capsys.readouterr().out
    assert "password" not in said
    assert said.count("warning") == 1  # of the test's ssl mode
    assert tenants() == [
        ("Acme", "active", 1, None),
        ("Globex", "trial", 2, None),
        ("Initech", "cancelled", 0, None),
    ]
    acme = Tenant.objects.get(name="Acme")
    assert (acme.contact_name, acme.contact_email) == ("Ann", "ann@example.com")
    assert acme.last_activity_at == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert Tenant.objects.get(name="Globex").contact_name == "Cid"
    assert shown_emails() == ["ann@example.com"] * 2 + ["bob@example.com", "cid@example.com"]

    with registered[2].server.connect("saas") as owner:

        def ghosts() -> list[tuple[object, ...]]:
            query = "SELECT password, deleted_at IS NULL FROM users WHERE is_ghost_admin"
            return owner.execute(renamed(query, names).encode()).fetchall()

        assert ghosts() == [("!", True)]
        type(ann).objects.filter(pk=ann.pk).update(is_active=False)
        call_command("sync_ghost_users", "--rds=4")
        assert ghosts() == [("!", False)]
        set_up_support_access("saas", owner)
        call_command("find_user", "ann@example.com", "--live")
        said = capsys.readouterr().out
        assert "Acme" in said
        assert "Globex" in said


LOGINS = """
    CREATE TABLE shards (name text PRIMARY KEY, number int NOT NULL, dsn_password text);
    CREATE TABLE logins (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text, shard text, customer_id int,
        account_id int, full_name text, password_hash text, disabled_at timestamptz,
        changed_at timestamptz DEFAULT now());
    INSERT INTO shards VALUES ('eu', 2), ('us', 3);
    INSERT INTO logins (email, shard, customer_id, account_id, disabled_at) VALUES
        ('ann@example.com', 'eu', 1, 101, NULL), ('bob@example.com', 'us', 1, 101, now()),
        ('cid@example.com', 'new', 7, 701, NULL)"""


def test_a_directory_only(
    follow: Follow, registered: InstanceFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    registered[2].add_tenant(1, "Acme")
    call_command("sync_tenant_summaries", "--rds=2")
    follow("directory-only", "logins", LOGINS)
    assert capsys.readouterr().out.count("warning") == 1  # of the test's ssl mode
    assert shown_emails() == ["ann@example.com", "bob@example.com", "cid@example.com"]
    call_command("find_user", "ann@example.com")
    assert "Acme" in capsys.readouterr().out
    call_command("find_user", "cid@example.com")
    assert "tenant 7" in capsys.readouterr().out
    call_command("sync_all")
    assert not tenants()


def test_no_directory(follow: Follow, registered: InstanceFleet) -> None:
    for number in (2, 3):
        registered[number].add_tenant(1)
        registered[number].add_user(101, 1, f"u{number}@example.com")
    follow("no-directory", "directory", "SELECT 1")
    assert shown_emails() == ["u2@example.com", "u3@example.com"]
    assert SyncRun.objects.latest("pk").state == RunState.SUCCEEDED


def test_a_replica_and_its_writer(
    transactional_db: None, extra_instance: Callable[..., Instance], tmp_path: Path
) -> None:
    primary = extra_instance(4)
    primary.add_tenant(1, "Acme")
    staff("ann", is_superuser=True)
    secret = tmp_path / "secret"
    secret.write_text(primary.rainbo_password)
    with scratch_root(local_root()) as root, standby(root, primary.server) as server:
        replica = replace(primary, server=server)
        for kind, body in blocks("replica-and-writer"):
            if kind == "sql":
                primary.execute(body)
                catch_up(primary.server, server)
                continue
            for line in body.splitlines():
                command(line.removeprefix(MANAGE), replica, secret, writer=primary.port)
    assert tenants() == [("Acme", "active", 0, 0)]
    assert primary.execute("SELECT count(*) FROM users WHERE is_ghost_admin") == [(1,)]


def test_pgbouncer(registered: InstanceFleet, tmp_path: Path) -> None:
    needs(pooler.PROGRAM, "PgBouncer is not installed: apt install pgbouncer")
    instance = registered[2]
    instance.add_tenant(1, "Acme")
    RdsInstance.objects.filter(pk=2).delete()
    secret = tmp_path / "secret"
    secret.write_text(instance.rainbo_password)
    found = dict(blocks("pgbouncer"))
    settings = dict(line.split(" = ", 1) for line in found["ini"].splitlines() if " = " in line)
    users = {instance.user: instance.rainbo_password}
    size = int(settings["default_pool_size"])
    with (
        scratch_root(local_root()) as root,
        pooler.pooler(root, instance.server, users, mode=settings["pool_mode"], size=size) as port,
    ):
        for line in found[""].splitlines():
            command(line.removeprefix(MANAGE), instance, secret, port=port)
    assert tenants() == [("Acme", "active", 0, 0)]
