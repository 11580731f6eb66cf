"""The `.env` file of a checkout, read by the real django-environ."""

from __future__ import annotations

import io
import logging
import os
import runpy
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from rainbo import env_file

ROOT = Path(__file__).parents[2]
SYSTEMD = runpy.run_path(str(ROOT / "deploy" / "with_environment.py"))["variables"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def plain(text: str) -> dict[str, str]:
    """What django-environ makes of a text that nobody checks."""

    class Reader(environ.Env):
        ENVIRON: dict[str, str] = {}

    Reader.read_env(io.StringIO(text))
    return Reader.ENVIRON


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("RAINBO_X=b", "b"),
        ("RAINBO_X=", ""),
        ("  export RAINBO_X=b  ", "b"),
        ("RAINBO_X=python manage.py", "python manage.py"),
        ("RAINBO_X=b#c", "b#c"),
        ("RAINBO_X=$b", "$b"),
        ("RAINBO_X=b=c", "b=c"),
        ("RAINBO_X='b # c'", "b # c"),
        ('RAINBO_X="b # c" ', "b # c"),
        (r"""RAINBO_X='say "$b" \n'""", r'say "$b" \n'),
        (r'RAINBO_X="say \"b\" \$c \\."', r'say "b" $c \.'),
        (r'RAINBO_X="\"b\""', '"b"'),
    ],
)
def test_lines_that_mean_one_thing(path: Path, line: str, value: str) -> None:
    path.write_text(f"# a comment\n\n  # another\n{line}\n")
    assert env_file.read(path) == {"RAINBO_X": value}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("RAINBO_X = hunter2", "must be NAME=value"),
        ("RAINBO_X= hunter2", "must be NAME=value"),
        ("RAINBO_X: hunter2", "must be NAME=value"),
        ("hunter2", "must be NAME=value"),
        ("RAINBO_X=hunter2 # c", "a comment needs a line of its own"),
        ("RAINBO_X= # hunter2", "a comment needs a line of its own"),
        ("RAINBO_X='hunter2' # c", "a comment needs a line of its own"),
        ('RAINBO_X="hunter2" # "c"', "a comment needs a line of its own"),
        ("RAINBO_X='hunter2", "must be quoted as a whole"),
        ("RAINBO_X=hunter2's", "must be quoted as a whole"),
        ("RAINBO_X='hunter2''s'", "must be quoted as a whole"),
        ("RAINBO_X='\"hunter2\"'", "must be quoted as a whole"),
        (r'RAINBO_X="hunter2\"', "must be quoted as a whole"),
        (r'RAINBO_X="hunter2\n"', "must be quoted as a whole"),
        (r"RAINBO_X=hunter2\n", "must be quoted as a whole"),
    ],
)
def test_others_are_rejected_by_their_number(
    path: Path, caplog: pytest.LogCaptureFixture, line: str, why: str
) -> None:
    path.write_text(f"RAINBO_Y=1\n\n{line}\n")
    with caplog.at_level(logging.DEBUG), pytest.raises(ImproperlyConfigured) as failure:
        env_file.read(path)
    assert str(failure.value).startswith(f"{path}, line 3: ")
    assert why in str(failure.value)
    assert "hunter2" not in str(failure.value) + caplog.text


def test_the_library_still_does_what_the_check_is_for() -> None:
    """Whoever sees this fail may take a part of the check away."""
    assert plain("A = b") == {}
    assert plain("A=b # c") == {"A": "b # c"}
    assert plain("A='b' # c") == {"A": "'b' # c"}
    assert plain("A='\"b\"'") == {"A": "b"}


@given(st.text("ab '\"\\$#=;", max_size=12))
def test_what_is_accepted_systemd_and_the_library_read_alike(value: str) -> None:
    line = f"RAINBO_X={value}"
    with TemporaryDirectory() as folder:
        path = Path(folder) / ".env"
        path.write_text(line)
        try:
            found = env_file.read(path)
        except ImproperlyConfigured:
            return
    assert found == dict(SYSTEMD(line)) == plain(line.rstrip())


@pytest.mark.parametrize("value", ["'$b `c` \"d\" \\e'", r'"say \"b\" \$c \\"', "b#c"])
def test_a_shell_reads_quoted_values_alike(path: Path, value: str) -> None:
    path.write_text(f"RAINBO_X={value}\n")
    shell = ["sh", "-c", f'. {path}; printf %s "$RAINBO_X"']
    done = subprocess.run(shell, env={}, capture_output=True, text=True, check=True)
    assert env_file.read(path) == {"RAINBO_X": done.stdout}


def test_the_example_is_a_file_that_can_be_read() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    given_values = plain(example)
    assert env_file.read(ROOT / ".env.example") == given_values
    assert "RAINBO_SECRET_KEY" in given_values


def test_the_defaults_of_the_example_can_be_read_once_uncommented(path: Path) -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    path.write_text(
        "\n".join(
            line.removeprefix("# ")
            for line in lines
            if line.startswith("# RAINBO_") and "=" in line
        )
    )
    assert len(env_file.read(path)) > 30


@pytest.mark.parametrize(
    ("own", "value"),
    [
        ({}, {"RAINBO_X": "file", "RAINBO_Y_FILE": "/file"}),
        ({"RAINBO_X": "own"}, {"RAINBO_X": "own", "RAINBO_Y_FILE": "/file"}),
        ({"RAINBO_X": ""}, {"RAINBO_X": "", "RAINBO_Y_FILE": "/file"}),
        ({"RAINBO_Y": "own"}, {"RAINBO_X": "file", "RAINBO_Y": "own"}),
    ],
)
def test_the_real_environment_wins(path: Path, own: dict[str, str], value: dict[str, str]) -> None:
    path.write_text("RAINBO_X=file\nRAINBO_Y_FILE=/file\n")
    before = dict(os.environ)
    assert env_file.completed(own, path) == value
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", ["RAINBO_SECRET_KEY", "RAINBO_SECRET_KEY_FILE"])
def test_a_process_that_is_configured_reads_no_file(path: Path, name: str) -> None:
    path.write_text("RAINBO_DEBUG=on\nnonsense\n")
    assert env_file.completed({name: "x"}, path) == {name: "x"}


def test_no_file_and_a_folder_of_its_name_are_no_fault(path: Path) -> None:
    assert env_file.completed({}, path) == {}
    path.mkdir()
    assert env_file.completed({}, path) == {}


def test_a_file_that_is_no_text_is_rejected_without_its_content(path: Path) -> None:
    path.write_bytes(b"RAINBO_X=hunter2\xff")
    with pytest.raises(ImproperlyConfigured, match=r"env cannot be read: it is not UTF-8 text$"):
        env_file.read(path)


def test_settings_read_the_file_next_to_manage_py(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path.parent / "rainbo").mkdir()
    settings = str(shutil.copy(ROOT / "rainbo" / "settings.py", path.parent / "rainbo"))
    path.write_text("RAINBO_SECRET_KEY='$ecret # 1'\nRAINBO_CREDENTIAL_KEYS=a,b\nRAINBO_DEBUG=on\n")
    monkeypatch.setattr("os.environ", {"RAINBO_DEBUG": "off"})
    found = runpy.run_path(settings)
    assert (found["SECRET_KEY"], found["DEBUG"]) == ("$ecret # 1", False)
