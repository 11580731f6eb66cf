"""What a release needs in addition to working: one version, its notes, its tag."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from common.version import version
from tests.release.__main__ import notes

ROOT = Path(__file__).parents[2]
GOOD = "# Changelog\n\n## Unreleased\n\n## 1.2.0 – 2026-12-01\n\n- Add.\n\n## 1.1.0 – 2026-11-01\n"


def test_a_version_with_its_notes_can_be_released() -> None:
    assert notes("1.2.0", GOOD, {"v1.1.0": False}) == []
    assert notes("1.2.0", GOOD, {"v1.2.0": True}) == []


@pytest.mark.parametrize(
    ("number", "changelog", "tagged", "said"),
    [
        ("1.2", GOOD, {}, "none like 1.2.3"),
        ("1.3.0", GOOD, {}, "no section `## 1.3.0"),
        ("1.1.0", GOOD, {}, "no section `## 1.1.0"),
        ("1.2.0", GOOD.replace(" – 2026-12-01", ""), {}, "no date"),
        ("1.2.0", GOOD.replace("Unreleased\n", "Unreleased\n\n- Forgotten."), {}, "lines in Unr"),
        ("1.2.0", GOOD, {"v1.2.0": False}, "tag of another commit"),
    ],
    ids=["number", "section", "order", "date", "unreleased", "tag"],
)
def test_what_keeps_it_from_being_released_is_named(
    number: str, changelog: str, tagged: dict[str, bool], said: str
) -> None:
    assert any(said in problem for problem in notes(number, changelog, tagged))


def test_the_version_is_stated_in_one_place() -> None:
    """Not counted: the notes, other packages' pins, and the API's own version."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", version())
    listed = subprocess.run(
        ["git", "grep", "-lE", rf"(version|VERSION)\W{{1,6}}v?{re.escape(version())}\b"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert listed == ["docs/production.md", "pyproject.toml"]


def test_the_page_of_production_shows_this_version() -> None:
    page = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    assert f"export VERSION=v{version()} " in page
