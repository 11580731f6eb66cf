"""Every command of the docs is run by a test, or is listed here with why it is not.

Each line of `manage.py` is parsed as the command itself would; each block is in RUN or NOT_RUN.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "deploy/triggers/README.md"]
)
LINE = re.compile(
    r"(?:(?:python manage\.py|(?<![\w/.])manage\.py|^rainbo|`rainbo) |CMD=\")([a-z_]+\b[^`\n]*)",
    re.MULTILINE,
)
NO_COMMAND = {"qcluster runs:"}  # of what a command printed
# What stands for a value
PLACEHOLDERS = {"…": "x", "N": "1", "NUMBER": "1", "RUN": "1", "CONNECTION": "1", "TIME": "1h"}
MACHINE = "tests/deploy/test_life_of_a_machine.py"
RECIPES = "tests/recipes/test_recipes.py"
DRILL = "tests/upgrade/test_restore_drill.py"
# Page, heading: the test that runs its blocks.
RUN = {
    ("README.md", "Try it"): "tests/release/__main__.py::fresh_clone",
    ("docs/activity.md", "Removing old entries"): "tests/activity/test_written_once.py",
    ("docs/commands.md", "`schedule_pause NAME`"): "tests/syncs/management/test_schedules.py",
    ("docs/commands.md", "`schedule_set NAME`"): "tests/syncs/management/test_schedules.py",
    ("docs/credentials.md", "Make a key"): "tests/tenants/test_rotate_credentials.py",
    ("docs/find.md", "The same on the command line"): "tests/tenants/find/test_find_user.py",
    ("docs/find.md", "Parts of words"): "tests/tenants/find/test_part_search.py",
    ("docs/instances.md", "1. A role on every instance"): f"{MACHINE}::instance",
    ("docs/production.md", "How do I run RAINBO in production?"): f"{MACHINE}::install",
    ("docs/production.md", "1. Packages, account and code"): f"{MACHINE}::install",
    ("docs/production.md", "2. RAINBO's own database"): f"{MACHINE}::install",
    ("docs/production.md", "3. The environment"): f"{MACHINE}::install",
    ("docs/production.md", "4. Web and workers"): f"{MACHINE}::install",
    ("docs/production.md", "5. TLS"): f"{MACHINE}::install",
    ("docs/production.md", "6. Your fleet"): f"{MACHINE}::install",
    ("docs/production.md", "7. Monitoring"): f"{MACHINE}::install",
    ("docs/production.md", "8. Backup"): f"{MACHINE}::install",
    ("docs/production.md", "Without workers"): f"{MACHINE}::test_without_workers",
    ("docs/restore.md", "The drill"): f"{MACHINE}::test_the_drill_leaves_the_running_console_alone",
    ("docs/restore.md", "Restore a backup"): f"{DRILL}::test_a_backup_is_restored",  # and MACHINE
    ("docs/restore.md", "Without a backup"): "tests/tenants/ghosts/test_adoption.py",
    ("docs/restore.md", "Staging next to production"): "tests/tenants/ghosts/test_adoption.py",
    ("docs/rotation.md", "`RAINBO_CREDENTIAL_KEYS`"): f"{MACHINE}::test_a_secret_is_rotated",
    ("docs/rotation.md", "`RAINBO_SECRET_KEY`"): f"{MACHINE}::test_a_secret_is_rotated",
    (
        "docs/rotation.md",
        "The password of RAINBO's own database",
    ): f"{MACHINE}::test_a_secret_is_rotated",
    (
        "docs/rotation.md",
        "The password of an instance",
    ): f"{MACHINE}::test_the_password_of_an_instance_is_rotated",
    (
        "docs/source-contract.md",
        "The standard schema",
    ): "tests/tenants/health/test_check_fleet.py",
    ("docs/sql.md", "How do I read RAINBO's data with SQL?"): f"{MACHINE}::test_a_reader_of_sql",
    ("docs/sql.md", "`reporting.routes`"): "tests/rainbo/test_sql_reader.py",
    ("docs/support-access.md", "At each request"): "tests/tenants/support_access/test_table.py",
    ("docs/support-access.md", "End"): "tests/tenants/support_access/test_table.py",
    ("docs/support-access.md", "Redeem"): "tests/tenants/support_access/test_table.py",
    (
        "docs/troubleshooting.md",
        "Something is wrong: what do I do?",
    ): "tests/tenants/test_troubleshooting.py",
    ("docs/troubleshooting.md", "Nothing is synced"): "tests/tenants/test_troubleshooting.py",
    (
        "docs/troubleshooting.md",
        "Cron does not start a sync",
    ): "tests/tenants/test_troubleshooting.py",
    ("docs/troubleshooting.md", "A sync fails"): "tests/tenants/test_troubleshooting.py",
    (
        "docs/troubleshooting.md",
        "A run overlaps another, or is skipped",
    ): "tests/tenants/test_troubleshooting.py",
    ("docs/troubleshooting.md", "An instance is down"): "tests/tenants/test_troubleshooting.py",
    ("docs/troubleshooting.md", "What I see is stale"): "tests/tenants/test_troubleshooting.py",
    ("docs/troubleshooting.md", "A run is held"): "tests/tenants/test_troubleshooting.py",
    (
        "docs/troubleshooting.md",
        "An alert does not arrive",
    ): "tests/tenants/test_troubleshooting.py",
    (
        "docs/troubleshooting.md",
        "A connection of a service fails",
    ): "tests/tenants/test_troubleshooting.py",
    ("docs/uninstall.md", "1. Ghost users"): f"{MACHINE}::test_uninstalling_leaves_nothing",
    (
        "docs/uninstall.md",
        "2. The role on the instances",
    ): f"{MACHINE}::test_uninstalling_leaves_nothing",
    (
        "docs/uninstall.md",
        "3. The console and RAINBO's own database",
    ): f"{MACHINE}::test_uninstalling_leaves_nothing",
    ("docs/uninstall.md", "4. Files"): f"{MACHINE}::test_uninstalling_leaves_nothing",
    ("docs/upgrades.md", "RAINBO"): f"{MACHINE}::test_an_upgrade_and_taking_it_back",
    ("docs/upgrades.md", "Take an upgrade back"): f"{MACHINE}::test_an_upgrade_and_taking_it_back",
    (
        "docs/upgrades.md",
        "PostgreSQL under RAINBO's own database",
    ): "tests/upgrade/test_pg_upgrade.py",
}
# Page, heading: why nothing runs its blocks as they stand.
NO = "no command: "
NOT_RUN = {
    ("docs/alerts.md", "Webhooks"): f"{NO}the headers of a message",
    ("docs/api.md", "Requests"): "needs a token of yours; tests/api sends such requests",
    (
        "docs/commands.md",
        "`schedule_list`",
    ): "an example of what it prints: it is different each time",
    ("docs/credentials.md", "Passwords from a command"): f"{NO}lines of the environment",
    ("docs/ghosts.md", "Sync one"): "numbers of an example; tests/tenants/ghosts run each option",
    ("docs/instances.md", "2. Register it"): "another address; production.md's is run",
    (
        "docs/instances.md",
        "3. Prove it",
    ): "needs nothing but step 2; run as a step of production.md",
    ("docs/instances.md", "4. Sync"): "schedule_work does not end; production.md runs all four",
    ("docs/instances.md", "Replicas"): "needs a replica and a writer; the recipe's are run",
    ("docs/integrations.md", "Try it"): "needs a demo; tests/localfleet revokes the token in it",
    ("docs/monitoring.md", "Events in the log"): f"{NO}lines of a log",
    ("docs/monitoring.md", "Metrics"): "tests/api/test_tokens.py makes tokens of each role",
    ("docs/production.md", "Behind a pooler"): f"{NO}lines of the environment",
    (
        "docs/production.md",
        "Containers",
    ): "needs Docker and its registry; test_image.py builds and runs the image",
    ("docs/production.md", "The database on another machine"): f"{NO}lines of the environment",
    ("docs/scaling.md", "Connections"): f"{NO}a formula",
    (
        "docs/schedules.md",
        "When the stored rows don't agree",
    ): "what it prints of rows that are wrong",
    ("docs/services/models.md", "Connect a catalogue"): "requests a service on the Internet",
    ("docs/settings.md", "A `.env` file for development"): f"{NO}lines of a file",
    ("docs/source-contract.md", "Several schemas in one fleet"): f"{NO}a folder's contents",
    ("docs/source-contract.md", "Which ids must be equal"): "a part of a query, with an ellipsis",
    (
        "docs/support-access.md",
        "Set it up",
    ): "names a server of an example; the same file is run by tests/recipes",
    ("docs/tenants.md", "Is it still so?"): "an example's number; each option has its test",
    (
        "docs/upgrades.md",
        "PostgreSQL under an instance",
    ): "needs an upgraded server; tests/tenants/fleet/test_identity.py changes the identity",
    (
        "docs/when-a-run-is-held.md",
        "Accept",
    ): "numbers of an example; test_troubleshooting.py accepts a run",
    ("docs/when-a-run-is-held.md", "Discard"): "numbers of an example; test_discard_held.py",
    ("docs/workers.md", "From outside"): "prints the time; the query shows what sessions there are",
    ("docs/workers.md", "How do I keep the workers running?"): "does not end; the unit runs it",
    ("docs/workers.md", "Proofs"): "takes 200 minutes; tests/syncs/faults runs a few of its slots",
}


def written(page: Path) -> str:
    return re.sub(r"\\\n *", " ", page.read_text(encoding="utf-8"))


def lines(page: Path) -> Iterator[str]:
    """Each call of manage.py, in blocks and in running text, without what only a shell reads."""
    for found in LINE.finditer(written(page)):
        line = found[1].partition('"')[0] if found[0].startswith("CMD") else found[1]
        if line not in NO_COMMAND:
            yield re.split(r" (?:\||>|#|&&) ?| {2,}#", line)[0].rstrip(" .")


def blocks(page: Path) -> set[tuple[str, str]]:
    """Page and heading of each block with commands or statements."""
    found = set()
    for part in re.split(r"^#+ ", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        heading = part.partition("\n")[0]
        if re.search(r"^ *```(?:sh|sql)?\n", _opening(part), re.MULTILINE):
            found.add((page.relative_to(ROOT).as_posix(), heading))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_block_says_what_it_is(page: Path) -> None:
    """One that is only indented would be in neither list."""
    text = re.sub(
        r"^( *)```.*?^\1```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    assert not re.findall(r"(?:^\n) {4,}\S.*", text, re.MULTILINE)


def _opening(part: str) -> str:
    """The part without the lines that end a block, which look like those that begin one."""
    return re.sub(r"(^ *```\w*\n)(.*?)^ *```$", r"\1", part, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_line_of_manage_py_can_be_parsed(page: Path) -> None:
    for line in lines(page):
        # An apostrophe alone: only `make manage` takes that, which is no shell.
        parts = shlex.split(line) if line.count("'") != 1 else line.split()
        name, *given = (PLACEHOLDERS.get(part, part) for part in parts)
        app: Any = get_commands()[name]
        command = app if isinstance(app, BaseCommand) else load_command_class(app, name)
        parser = command.create_parser("manage.py", name)
        if not given:
            continue  # the command is named, and not all that it needs
        try:
            parser.parse_args(given)
        except CommandError as error:
            pytest.fail(f"{line}: {error}")


def test_every_block_is_run_or_listed() -> None:
    found = {block for page in PAGES for block in blocks(page) if "recipes/" not in block[0]}
    assert not RUN.keys() & NOT_RUN.keys()
    assert found == RUN.keys() | NOT_RUN.keys()


@pytest.mark.parametrize("test", sorted({*RUN.values(), RECIPES}))
def test_what_runs_a_block_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not name or f"def {name}(" in text
    pages = {Path(page).name for (page, _), by in RUN.items() if by == test}
    assert all(page in text or Path(page).stem in text for page in pages)
