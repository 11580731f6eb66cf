"""An installation's life on a Debian machine of its own, by the commands of the pages.

What a person replaces or types is in REPLACED and TYPED; every other command runs as it stands.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from common.version import version
from localfleet.data import schema
from tests.children import ROOT
from tests.deploy.scratch import Machine, machine, repository

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1800)]
HOST = "console.example.com"
OLD, NEW = "v9.0.0", "v9.0.1"
PASSWORD = "of-the-admin-0123456789"
THERE = "of-the-instance-0123456789"
REPLACED = {
    "rainbo.example.com   ": f"{HOST}   ",
    "https://git.example.com/rainbo.git": "/srv/rainbo.git",
    f"VERSION=v{version()}": f"VERSION={OLD}",
    "--host eu-1.db.example.com": "--host 127.0.0.1 --port 5433 --ssl-mode require",
}
TYPED = {
    "rainbo createsuperuser": f"DJANGO_SUPERUSER_PASSWORD={PASSWORD} rainbo createsuperuser"
    " --noinput --username admin --email admin@example.com",
    "--user rainbo --master": "--user rainbo --master --password-env TYPED",
    "--update --id 1 --user rainbo_2": "--update --id 1 --user rainbo_2 --password-env TYPED",
    # Three minutes later
    "sleep 180": "runuser -u postgres -- psql -qc 'DELETE FROM syncs_heartbeat' rainbo",
    "'\\password reports'": "\"ALTER ROLE reports PASSWORD 'typed'\"",
}
STATE = "/root/shell"
KEEP = f"declare -p HOST REPOSITORY VERSION DB_PASSWORD > {STATE} 2>/dev/null || true"
FETCHES = re.compile(r"apt-get|pip install")


def blocks(page: str, language: str = "sh") -> dict[str, list[str]]:
    """The blocks of a page by the heading that they stand below."""
    found: dict[str, list[str]] = {}
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE):
        heading = part.partition("\n")[0]
        fenced = re.findall(r"^```(\w*)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        if of_it := [block for kind, block in fenced if kind == language]:
            found[heading] = of_it
    return found


def follow(host: Machine, script: str, **env: Any) -> str:
    """Run a block in the one shell that the page speaks of; what it said."""
    for written, meant in {**REPLACED, **TYPED}.items():
        script = script.replace(written, meant)
    said = ""
    # Only what fetches reaches the registries; then it does not reach the machine's own servers.
    for fetches, lines in groupby(commands(script), lambda line: bool(FETCHES.search(line))):
        part = "\n".join(lines)
        code, answer = host.run(
            f"[ ! -f {STATE} ] || . {STATE}\n{part}\n{KEEP}", network=fetches, **env
        )
        said += answer
        assert code == 0, f"{part}\n{said}"
    return said


def commands(script: str) -> list[str]:
    """The script's lines, with what belongs to one in one: continued lines, here-documents."""
    pattern = r"(?:.*<<\s*'?(\w+)'?.*\n(?:.*\n)*?\1$|(?:.*\\\n)*.+)"
    return [found[0] for found in re.finditer(pattern, script, re.MULTILINE)]


def ask(host: Machine, script: str) -> str:
    code, said = host.run(script)
    assert code == 0, f"{script}\n{said}"
    return said


def psql(host: Machine, statement: str, port: int = 5432, database: str = "rainbo") -> str:
    words = f"--quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --port {port} {database}"
    return ask(host, f"runuser -u postgres -- psql {words} <<'SQL'\n{statement}\nSQL\n").strip()


def until(host: Machine, script: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        code, said = host.run(script)
        if code == 0:
            return
        assert time.monotonic() < deadline, f"{script}\n{said}"
        time.sleep(1)


def page(host: Machine, path: str) -> tuple[int, str]:
    """What the console answers through the proxy."""
    said = ask(
        host,
        "curl -s --max-time 20 --cacert /etc/ssl/certs/rainbo.pem "
        f"--resolve {HOST}:443:127.0.0.1 --write-out '\\n%{{http_code}}' https://{HOST}{path}",
    )
    text, _, code = said.rpartition("\n")
    return int(code), text


@contextmanager
def cron(host: Machine) -> Iterator[str]:
    """Cron itself runs in it; the file that has its mails."""
    mails = "/var/mail/sent"
    host.write("/usr/sbin/sendmail", f"#!/bin/sh\nexec cat >> {mails}\n", 0o755)
    ask(host, f": > {mails}; chmod 0666 {mails}; cron")  # it runs the program as the line's account
    try:
        yield mails
    finally:
        ask(host, "kill $(cat /run/crond.pid)")


# As an application that has never heard of RAINBO has it
UNAWARE = """ALTER TABLE users
    DROP COLUMN is_ghost_admin, DROP COLUMN rainbo_admin_id, DROP COLUMN rainbo_installation,
    ALTER COLUMN tenant_id SET NOT NULL;
"""


def instance(host: Machine) -> None:
    """Another server of PostgreSQL in it, with the schema of an instance, and the page's role."""
    ask(host, "LC_ALL=C.UTF-8 pg_createcluster 15 eu1 --port 5433 --start")
    psql(host, "CREATE DATABASE app", 5433, "postgres")
    role = blocks("instances.md", "sql")["1. A role on every instance"][0]
    role = role.replace("\\password rainbo", f"ALTER ROLE rainbo PASSWORD '{THERE}';")
    tables = "\n".join(
        (schema.SQL_FOLDER / name).read_text() for name in ("instance.sql", "master.sql")
    )
    psql(host, re.sub(r"^GRANT .*?;", "", tables, flags=re.MULTILINE | re.DOTALL), 5433, "app")
    psql(host, UNAWARE + blocks("source-contract.md", "sql")["The standard schema"][0], 5433, "app")
    psql(host, role, 5433, "app")
    psql(host, "INSERT INTO tenants (id, name, status) VALUES (1, 'First', 'active')", 5433, "app")


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    """A machine on which docs/production.md was followed to its end."""
    with machine() as made:
        # A machine that boots starts its database by itself; installing it here does not.
        made.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        (made.root / "srv" / "rainbo.git").mkdir(parents=True, exist_ok=True)
        repository(made.root / "srv" / "rainbo.git", OLD)
        install(made)
        yield made


def install(made: Machine) -> None:
    began = time.monotonic()
    for heading, scripts in blocks("production.md").items():
        if heading.startswith("2."):
            ask(made, "pg_ctlcluster 15 main start")
        if heading.startswith("6."):
            instance(made)
        if heading.startswith("7."):
            until(made, "rainbo worker_health")
        if heading == "Without workers":
            break
        for script in scripts:
            follow(made, script, TYPED=THERE)
        print(f"{heading}: {time.monotonic() - began:.0f} s")


def test_the_console_is_served_with_tls_and_its_styles(host: Machine) -> None:
    code, login = page(host, "/admin/login/")
    assert code == 200
    (style, *_) = re.findall(r'href="(/static/[^"]+\.css)"', login)
    assert page(host, style)[0] == 200
    said = ask(
        host,
        f"curl -s -o /dev/null -w '%{{http_code}} %{{redirect_url}}' -H 'Host: {HOST}' 127.0.0.1",
    )
    assert said == f"301 https://{HOST}/"
    assert page(host, "/admin/find/?q=ann@example.com")[0] == 302
    assert "ann@example.com" not in ask(host, "cat /var/log/nginx/rainbo.log")


def test_what_the_account_may_do(host: Machine) -> None:
    """It reads its environment and writes none of its code; others read no environment."""
    for user, path, mode, allowed in (
        ("rainbo", "/etc/rainbo/environment", "-r", True),
        ("rainbo", "/etc/rainbo/environment", "-w", False),
        ("rainbo", "/opt/rainbo/manage.py", "-w", False),
        ("rainbo", "/opt/rainbo/staticfiles", "-w", True),
        ("nobody", "/etc/rainbo/environment", "-r", False),
    ):
        code, _ = host.run(f"runuser -u {user} -- test {mode} {path}")
        assert (code == 0) is allowed, (user, path, mode)
    assert psql(host, "SELECT rolsuper FROM pg_roles WHERE rolname = 'rainbo'") == "f"


def test_the_fleet_is_read_and_the_admin_has_a_ghost_user(host: Machine) -> None:
    assert psql(host, "SELECT name FROM tenant_master") == "First"
    found = "SELECT rainbo_admin_id, status FROM users WHERE is_ghost_admin"
    assert psql(host, found, 5433, "app") == "1|Active"


def test_cron_reports_what_is_wrong_and_nothing_else(host: Machine) -> None:
    line = ask(host, "sed -n 's/^[*].* root //p' /etc/cron.d/rainbo-status")
    assert ask(host, f"sh -c '{line.strip()}'") == ""
    ask(host, "pg_ctlcluster 15 eu1 stop --mode immediate; rainbo sync_instance_health || true")
    try:
        assert "eu-1" in ask(host, f"sh -c '{line.strip()}'")
        ask(host, "sed -i 's,^[*]/10 ,* ,' /etc/cron.d/rainbo-status")  # sooner
        with cron(host) as mails:
            until(host, f"grep -q '^To: root' {mails} && grep -q eu-1 {mails}", 180)
    finally:
        ask(host, "pg_ctlcluster 15 eu1 start; rainbo sync_instance_health")


def test_memory_of_its_processes(host: Machine) -> None:
    """Below what the units allow; docs/scaling.md has the figures of such a run."""
    measure = """
        cd /proc; for pid in [0-9]*; do
            line=$(tr '\\0' ' ' < $pid/cmdline)
            name=$(echo "$line" | grep -oE 'gunicorn|schedule_work|qcluster' | head -n 1 || true)
            [ -z "$name" ] || echo "$name $(awk '/^Pss:/ { print $2 }' $pid/smaps_rollup)"
        done 2> /dev/null
    """
    found = [line.split() for line in ask(host, measure).splitlines() if " " in line]
    total = {
        name: sum(int(kilobytes) for other, kilobytes in found if other == name) / 1024
        for name in {name for name, _ in found}
    }
    print(
        {
            name: f"{size:.0f} MB in {[n for n, _ in found].count(name)}"
            for name, size in total.items()
        }
    )
    assert 0 < total["gunicorn"] < 1024
    assert 0 < total["schedule_work"] + total.get("qcluster", 0) < 2048


ROTATED = (
    "`RAINBO_CREDENTIAL_KEYS`",
    "`RAINBO_SECRET_KEY`",
    "The password of RAINBO's own database",
)


@pytest.mark.parametrize("heading", ROTATED, ids=["credential keys", "secret key", "password"])
def test_a_secret_is_rotated(host: Machine, heading: str) -> None:
    before = ask(host, "cat /etc/rainbo/environment")
    for script in blocks("rotation.md")[heading]:
        follow(host, script)
    after = ask(host, "cat /etc/rainbo/environment")
    assert len(set(before.splitlines()) & set(after.splitlines())) >= len(before.splitlines()) - 1
    assert before != after
    until(host, PROBE)
    follow(host, "rainbo check_fleet && rainbo sync_tenant_summaries --force")


PROBE = f"curl -fsS --cacert /etc/ssl/certs/rainbo.pem --resolve {HOST}:443:127.0.0.1 https://{HOST}/health/ready"


def test_the_password_of_an_instance_is_rotated(host: Machine) -> None:
    role = blocks("instances.md", "sql")["1. A role on every instance"][0]
    role = role.replace("\\password rainbo", "ALTER ROLE rainbo_2 PASSWORD 'other-0123456789';")
    psql(host, re.sub(r"\bTO rainbo\b|ROLE rainbo\b", lambda m: m[0] + "_2", role), 5433, "app")
    for script in blocks("rotation.md")["The password of an instance"]:
        follow(host, script, TYPED="other-0123456789")
    (old,) = blocks("rotation.md", "sql")["The password of an instance"]
    psql(host, old, 5433, "app")
    follow(host, "rainbo sync_tenant_summaries --force")


def test_a_reader_of_sql(host: Machine) -> None:
    made, removed = blocks("sql.md")["How do I read RAINBO's data with SQL?"]
    follow(host, made)
    ask_as = "PGPASSWORD=typed psql --host 127.0.0.1 --username reports rainbo -Atc"
    assert ask(host, f"{ask_as} 'SELECT name FROM tenants'").strip() == "First"
    assert host.run(f"{ask_as} 'SELECT * FROM auth_user'")[0] != 0
    follow(host, removed)
    assert host.run(f"{ask_as} 'SELECT 1'")[0] != 0


NEXT = """from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("rainbo", "{before}")]
    operations = [migrations.RunSQL("CREATE TABLE of_next ()", "DROP TABLE of_next")]
"""
LIBRARY = re.compile(r"^idna==.*\n(?: .*\n)+", re.MULTILINE)
OTHER_LIBRARY = """idna==3.10 \\
    --hash=sha256:946d195a0d259cbba61165e88e65941f16e9b36ea6ddb97f00452bae8b1287d3
"""


def of_next(host: Machine) -> tuple[bool, str]:
    """Whether the next version's table is there, and the version of the library it changed."""
    there = psql(host, "SELECT to_regclass('of_next') IS NOT NULL") == "t"
    shown = ask(host, "/opt/rainbo/.venv/bin/pip show idna 2> /dev/null")
    return there, re.findall(r"^Version: (.*)$", shown, re.MULTILINE)[0]


def test_an_upgrade_and_taking_it_back(host: Machine) -> None:
    """The next version has another file, another library and another migration."""
    before = of_next(host)
    folder = host.root / "srv" / "rainbo.git"
    last = max(path.stem for path in (folder / "rainbo" / "migrations").glob("0*.py"))
    (folder / "new.txt").write_text("of the next version\n")
    (folder / "rainbo" / "migrations" / "0999_next.py").write_text(NEXT.format(before=last))
    pinned, count = LIBRARY.subn(OTHER_LIBRARY, (folder / "requirements.txt").read_text())
    assert count == 1
    (folder / "requirements.txt").write_text(pinned)
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for words in (["add", "--all"], [*who, "commit", "-qm", NEW], ["tag", NEW]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    script, caught_up = blocks("upgrades.md")["RAINBO"]
    follow(host, f"VERSION={NEW}\n{script}")
    assert (host.root / "opt" / "rainbo" / "new.txt").exists()
    assert of_next(host) == (True, "3.10") != before
    until(host, caught_up, 300)
    until(host, PROBE)
    runs = "SELECT count(*) FROM syncs_syncrun"
    kept = int(psql(host, runs))

    lists, back = blocks("upgrades.md")["Take an upgrade back"]
    assert f"{last}.py" in follow(host, lists.replace("OLD", OLD))
    follow(host, back.replace("OLD", OLD).replace("0002_no_keys_and_pickles_at_rest", last))
    assert not (host.root / "opt" / "rainbo" / "new.txt").exists()
    assert of_next(host) == before
    until(host, caught_up, 300)
    until(host, PROBE)
    assert int(psql(host, runs)) >= kept > 0


DATABASES = "SELECT datname FROM pg_database WHERE datname LIKE 'rainbo%' ORDER BY 1"


def test_the_drill_leaves_the_running_console_alone(host: Machine) -> None:
    """It needs no stop, compares the copy with the instances, and leaves nothing."""
    follow(host, next(s for s in blocks("production.md")["8. Backup"] if "pg_dump" in s))
    runs = psql(host, "SELECT count(*) FROM syncs_syncrun WHERE sync <> 'instance_health'")
    (script,) = blocks("restore.md")["The drill"]
    assert "the sources have not changed" in follow(host, script)
    assert psql(host, DATABASES, database="postgres") == "rainbo"
    assert runs == psql(host, "SELECT count(*) FROM syncs_syncrun WHERE sync <> 'instance_health'")
    until(host, PROBE)


def test_a_backup_is_restored(host: Machine) -> None:
    """Into a new database, as the page says for such a machine; what is in it is proved again."""
    # A new one: that of the installation needs the key of its time.
    follow(host, next(s for s in blocks("production.md")["8. Backup"] if "pg_dump" in s))
    script, start, caught_up, tidy_up = blocks("restore.md")["Restore a backup"]
    follow(host, script)
    (rest,) = blocks("restore.md", "")["Restore a backup"]
    follow(host, rest.replace("python manage.py", "rainbo"))
    assert psql(host, "SELECT name FROM tenant_master") == "First"
    follow(host, start)
    until(host, PROBE)
    until(host, caught_up, 300)
    assert psql(host, DATABASES, database="postgres") == "rainbo\nrainbo_before"
    follow(host, tidy_up)
    assert psql(host, DATABASES, database="postgres") == "rainbo"


def test_without_workers(host: Machine) -> None:
    (script,) = blocks("production.md")["Without workers"]
    follow(host, script)
    lines = ask(host, "cat /etc/cron.d/rainbo").splitlines()
    (run,) = [line.partition(" rainbo ")[2] for line in lines if line.startswith("*")]
    (setting,) = [line for line in lines if line.startswith("WITH_ENVIRONMENT=")]
    ask(host, f"runuser -u rainbo -- sh -c '{setting}; {run}'")
    assert "instance_health" in psql(
        host, "SELECT sync FROM syncs_syncrun ORDER BY id DESC LIMIT 5"
    )
    log = "/var/log/rainbo/schedule_run.log"
    assert ask(host, f"stat -c %U {log}").strip() == "rainbo"
    runs = "SELECT max(id) FROM syncs_syncrun"
    before = int(psql(host, runs))
    with cron(host) as mails:
        by_cron = f"runuser -u postgres -- psql -Atc '{runs}' rainbo"
        until(host, f'[ "$({by_cron})" -gt {before} ]', 180)
        assert "schedule_run" not in ask(host, f"cat {mails}")
        ask(host, "pg_ctlcluster 15 main stop --mode fast")
        try:
            until(host, f"grep -q 'Subject:.*schedule_run' {mails}", 180)
            assert "cannot be used" in ask(host, f"cat {mails}")
            assert "cannot be used" in ask(host, f"cat {log}")
        finally:
            ask(host, "pg_ctlcluster 15 main start")


def test_uninstalling_leaves_nothing(host: Machine) -> None:
    """Last: ghost users, role, database and files are gone, and what was to be kept is there."""
    steps = blocks("uninstall.md")
    statements = blocks("uninstall.md", "sql")
    (ghosts,) = steps["1. Ghost users"]
    follow(host, ghosts)
    active = "SELECT count(*) FROM users WHERE is_ghost_admin AND status = 'Active'"
    assert psql(host, active, 5433, "app") == "0"
    installation = json.loads(ask(host, "rainbo installation export"))["installation"]
    delete, left = statements["1. Ghost users"]
    assert psql(host, left, 5433, "app") == f"{installation}|Inactive|1"
    psql(host, delete.replace("ID", installation), 5433, "app")
    assert psql(host, "SELECT count(*) FROM users WHERE is_ghost_admin", 5433, "app") == "0"
    (role,) = statements["2. The role on the instances"]
    psql(host, re.sub(r"\brainbo\b", "rainbo_2", role), 5433, "app")
    for heading in ("3. The console and RAINBO's own database", "4. Files"):
        for script in steps[heading]:
            follow(host, script)
    psql(host, "DROP ROLE rainbo_2", database="postgres")
    assert (
        psql(host, "SELECT datname FROM pg_database WHERE datname = 'rainbo'", database="postgres")
        == ""
    )
    for port in (5432, 5433):
        left = "SELECT rolname FROM pg_roles WHERE rolname ~ 'rainbo|reports'"
        assert psql(host, left, port, "postgres") == ""
    found = ask(host, "find / -xdev -iname '*rainbo*' -not -path '/srv/*' -not -path '/proc/*'")
    assert {Path(line).name for line in found.splitlines()} <= {
        *("rainbo-activity.csv", "rainbo.pem", "rainbo.key", "rainbo.log"),
        *("rainbo-web.log", "rainbo-worker.log"),  # of our systemctl, where a journal would be
    }
    kept = (host.root / "root" / "rainbo-activity.csv").read_text().splitlines()
    assert kept[0].startswith("id,")
    assert "rainbo" not in ask(host, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
