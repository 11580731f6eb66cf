"""What deploy/ hands to a service manager names commands that exist, and is well-formed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from croniter import croniter
from django.core.management import get_commands, load_command_class

from tests.fleet_fixtures import needs

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
LINES = [
    line for line in (DEPLOY / "crontab").read_text().splitlines() if re.match(r"[*0-9]", line)
]


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_both_units_are_there() -> None:
    assert [unit.name for unit in UNITS] == ["rainbo-web.service", "rainbo-worker.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_no_fault(unit: Path, tmp_path: Path) -> None:
    analyze = needs(shutil.which("systemd-analyze"), "systemd-analyze is not installed: systemd")
    here = re.sub(r"/opt/rainbo/\.venv/bin/\w+", sys.executable, unit.read_text())
    copy = tmp_path / unit.name
    copy.write_text(here.replace("/opt/rainbo", str(ROOT)))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_restarts_and_leaves_nothing_behind(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    assert {"Restart=always", "KillMode=control-group", "NoNewPrivileges=yes"} <= set(lines)
    assert "ProtectSystem=strict" in lines
    assert any(re.fullmatch(r"MemoryMax=\d+G", line) for line in lines)


@pytest.mark.parametrize("line", LINES)
def test_a_crontab_line_has_a_rhythm_a_user_and_a_command_of_ours(line: str) -> None:
    fields = line.split(maxsplit=6)
    assert croniter.is_valid(" ".join(fields[:5]))
    assert fields[5] == "rainbo"
    command(line)


def test_the_workers_unit_runs_a_command_of_ours() -> None:
    command((DEPLOY / "systemd" / "rainbo-worker.service").read_text())


def command(text: str) -> None:
    """The management command that it calls exists and knows the options."""
    found = re.search(r"manage\.py (\w+)((?: --?[\w-]+(?: \d+(?!\S))?)*)", text)
    assert found, text
    app = get_commands()[found[1]]
    assert isinstance(app, str)
    load_command_class(app, found[1]).create_parser("manage.py", found[1]).parse_args(
        found[2].split()
    )


def test_logs_of_the_crontab_are_rotated() -> None:
    logs = {Path(log).parent for line in LINES for log in re.findall(r"tee -a (\S+)$", line)}
    assert logs == {Path("/var/log/rainbo")}
    assert not any("2>>" in line for line in LINES), "cron would mail nothing"
    assert (DEPLOY / "logrotate").read_text().splitlines()[1] == "/var/log/rainbo/*.log {"
    assert "install -d -o rainbo -g rainbo -m 0750 /var/log/rainbo" in read("docs/production.md")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("pa$$word;x", "pa$$word;x"),  # a shell would expand and end the command
        ("*/5 * * * *; b", "*/5 * * * *; b"),
        ("'it is $5'", "it is $5"),
        ('"a \\"b\\" \\$c \\d"', 'a "b" $c \\d'),
        ("a#b", "a#b"),
        ("a\\ b\\\\c", "a b\\c"),
        ("  spaced  ", "spaced"),
        ("", ""),
        ("''", ""),
    ],
)
def test_the_crontab_reads_the_environment_as_systemd_does(
    tmp_path: Path, written: str, value: str
) -> None:
    """As `man systemd.exec` says of EnvironmentFile=."""
    assert all("$WITH_ENVIRONMENT" in line for line in LINES)
    environment = tmp_path / "environment"
    environment.write_text(f"# A=1\n;B=2\n\nRAINBO_X={written}\nno line\nRAINBO_Y=last\n")
    show = (
        "import os; print([(k, v) for k, v in os.environ.items() if k in 'AB' or 'RAINBO_' in k])"
    )
    done = subprocess.run(
        [sys.executable, DEPLOY / "with_environment.py", environment, sys.executable, "-c", show],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == repr([("RAINBO_X", value), ("RAINBO_Y", "last")])


@pytest.mark.parametrize("value", ["a b;c", "$HOME `id`", 'say "x"', "back\\slash", "#1"])
def test_single_quotes_mean_the_same_to_a_shell(tmp_path: Path, value: str) -> None:
    """As .env.example says to those who read the file in a shell."""
    environment = tmp_path / "environment"
    environment.write_text(f"RAINBO_X='{value}'\n")
    reader = [sys.executable, str(DEPLOY / "with_environment.py"), str(environment)]
    shell = ["sh", "-c", f'set -a; . {environment}; exec "$@"', "sh"]
    for way in (reader, shell):
        done = subprocess.run(
            [*way, "printenv", "RAINBO_X"], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{value}\n"
