from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from rainbo.env import Environment


def env(**variables: str) -> Environment:
    return Environment(variables)


def test_an_empty_value_counts_as_unset() -> None:
    assert env(RAINBO_X=" ").text("RAINBO_X", "default") == "default"


def test_a_value_that_looks_like_a_reference_stays_as_it_is() -> None:
    assert env(RAINBO_X="$ecret").text("RAINBO_X", "") == "$ecret"


def test_a_file_gives_the_value_and_wins(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("from the file\n")
    assert env(RAINBO_X="direct", RAINBO_X_FILE=str(path)).text("RAINBO_X", "") == "from the file"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent"
    with pytest.raises(ImproperlyConfigured, match=r"RAINBO_X_FILE names .*absent.*No such file"):
        env(RAINBO_X_FILE=str(path)).text("RAINBO_X", "")


def test_a_file_that_is_no_text_is_refused_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ImproperlyConfigured, match="it is not UTF-8 text"):
        env(RAINBO_X_FILE=str(path)).text("RAINBO_X", "")


def test_a_required_value_says_what_to_do() -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X is not set: make one"):
        env().required("RAINBO_X", "make one")


def test_required_names_need_at_least_one() -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X holds no value"):
        env(RAINBO_X=" , ").required_names("RAINBO_X", "make one")


def test_names_are_split_and_trimmed() -> None:
    assert env(RAINBO_X="a, b,,c ").names("RAINBO_X") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("on", True), ("1", True), ("TRUE", True), ("off", False), ("0", False), ("no", False)],
)
def test_flags(value: str, expected: bool) -> None:
    assert env(RAINBO_X=value).flag("RAINBO_X", default=not expected) is expected


def test_rows_and_percent() -> None:
    assert env(RAINBO_X=" 20, 2.5").rows_and_percent("RAINBO_X", 1, 1) == (20, 2.5)
    assert env().rows_and_percent("RAINBO_X", 100, 1) == (100, 1.0)


def test_pairs() -> None:
    given = env(RAINBO_X=" a = */5 * * * * ;b=0 3 * * *; ").pairs("RAINBO_X", "a=1")
    assert given == {"a": "*/5 * * * *", "b": "0 3 * * *"}
    assert env().pairs("RAINBO_X", "a=1") == {}


@pytest.mark.parametrize("value", ["a", "a=", "=1", "a=1; a=2", "a=1; b"])
def test_nonsense_pairs_are_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be pairs"):
        env(RAINBO_X=value).pairs("RAINBO_X", "a=1")


def test_folder_and_file(tmp_path: Path) -> None:
    assert env(RAINBO_X=str(tmp_path)).folder("RAINBO_X") == tmp_path
    assert env().folder("RAINBO_X") is None
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be a file that exists"):
        env(RAINBO_X=str(tmp_path)).file("RAINBO_X")


@pytest.mark.parametrize("value", ["perhaps", "2", "onn"])
def test_nonsense_flags_are_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be on or off"):
        env(RAINBO_X=value).flag("RAINBO_X", default=False)


@pytest.mark.parametrize("value", ["ten", "1.5", "0", "11", "-3", "1e1"])
def test_nonsense_integers_are_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be a whole number from 1 to 10"):
        env(RAINBO_X=value).integer("RAINBO_X", 5, 1, 10)


@pytest.mark.parametrize("value", ["20", "20,", "20,101", "-1,10", "20,nan", "20,10,5", "a,b"])
def test_nonsense_thresholds_are_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be"):
        env(RAINBO_X=value).rows_and_percent("RAINBO_X", 1, 1)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be one of json, text, not 'xml'"):
        env(RAINBO_X="xml").choice("RAINBO_X", "json", ("json", "text"))
