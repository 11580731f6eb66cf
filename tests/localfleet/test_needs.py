from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.fleet_fixtures import needs

CHECKOUT = Path(__file__).parents[2]
NEEDY = """
from tests.fleet_fixtures import needs

def test_with_a_wish():
    needs(None, "a thing is missing: apt install thing")
"""


def _run(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p tests.fleet_fixtures -p no:django\n")
    (folder / "test_needy.py").write_text(NEEDY)
    outside = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        env=outside | {"PYTHONPATH": str(CHECKOUT)} | env,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_there_is_handed_on() -> None:
    assert needs(Path("/usr"), "install it") == Path("/usr")


def test_what_did_not_run_is_listed_by_name(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.search(
        r"did not run =+\ntest_needy.py::test_with_a_wish: .*apt install thing", done.stdout
    )


def test_with_ci_set_it_fails(tmp_path: Path) -> None:
    done = _run(tmp_path, CI="1")
    assert done.returncode == 1
    assert "apt install thing (with CI set, every test has to run)" in done.stdout


def test_debian_binaries_are_complete(debian_bin: Path) -> None:
    done = subprocess.run([debian_bin / "postgres", "--version"], capture_output=True, check=True)
    assert b"PostgreSQL" in done.stdout
