"""Values as people give them, read by the real django-environ."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from rainbo.env import Environment


def env(**variables: str) -> Environment:
    return Environment(variables)


def test_an_empty_value_counts_as_unset() -> None:
    assert env(RAINBO_X=" ").text("RAINBO_X", "default") == "default"
    assert env(RAINBO_X=" ").flag("RAINBO_X", default=True) is True


@pytest.mark.parametrize("value", ["$RAINBO_Y", "$$RAINBO_Y", "$absent", r"\$a", r"a\\$b", "$"])
def test_a_value_that_looks_like_a_reference_stays_as_it_is(tmp_path: Path, value: str) -> None:
    path = tmp_path / "secret"
    path.write_text(value)
    direct, file = env(RAINBO_X=value, RAINBO_Y="other"), env(RAINBO_X_FILE=str(path))
    assert direct.text("RAINBO_X", "default") == value
    assert direct.required("RAINBO_X", "") == value
    assert direct.names("RAINBO_X") == [value]
    assert file.text("RAINBO_X", "default") == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_comes_out_as_it_was_given(value: str) -> None:
    assert env(RAINBO_X=value).text("RAINBO_X", "") == value.strip()


@pytest.mark.parametrize("value", ["'a'", '"a b"', "a # b", "(a,b)"])
def test_quotes_comments_and_brackets_are_part_of_a_value(value: str) -> None:
    assert env(RAINBO_X=value).text("RAINBO_X", "") == value


def test_the_library_still_does_what_is_kept_from_values() -> None:
    """Whoever sees this fail may take a part of our layer away."""
    plain = environ.Env()
    plain.ENVIRON = {"X": "$Y", "Y": "other", "Z": "", "PERCENT": "20%", "SWITCH": "perhaps"}
    assert plain.str("X") == "other"
    assert plain.str("Z", default="default") == ""
    assert plain.float("PERCENT") == 20
    assert plain.bool("SWITCH") is False
    plain.ENVIRON = {"X": "hunter2"}
    with pytest.raises(ValueError, match="hunter2"):
        plain.int("X")


def test_a_file_gives_the_value_and_wins(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("from the file\n")
    assert env(RAINBO_X="direct", RAINBO_X_FILE=str(path)).text("RAINBO_X", "") == "from the file"


def test_an_empty_file_counts_as_unset(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("\n")
    assert env(RAINBO_X_FILE=str(path)).optional("RAINBO_X") is None
    assert env(RAINBO_X="direct", RAINBO_X_FILE=" ").optional("RAINBO_X") == "direct"


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
def test_switches(value: str, expected: bool) -> None:
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
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be a file that exists, or none"):
        env(RAINBO_X=str(tmp_path)).file_or("RAINBO_X", "none")
    assert env(RAINBO_X="none").file_or("RAINBO_X", "none") == "none"
    assert env().file_or("RAINBO_X", "none") == "none"


@pytest.mark.parametrize("value", ["perhaps", "2", "onn", "y"])
def test_nonsense_flags_are_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be on or off"):
        env(RAINBO_X=value).flag("RAINBO_X", default=False)


@pytest.mark.parametrize("value", ["ten", "1.5", "0", "11", "-3", "1e1"])
def test_nonsense_integers_are_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be a whole number from 1 to 10"):
        env(RAINBO_X=value).integer("RAINBO_X", 5, 1, 10)


@pytest.mark.parametrize("value", ["20%", "1,5", "-1", "nan", "101"])
def test_a_percentage_is_a_number_and_nothing_else(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be a number from 0 to 100"):
        env(RAINBO_X=value).percent("RAINBO_X", 10)


@pytest.mark.parametrize("value", ["20", "20,", "20,101", "-1,10", "20,nan", "20,10,5", "a,b"])
def test_nonsense_thresholds_are_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="RAINBO_X must be"):
        env(RAINBO_X=value).rows_and_percent("RAINBO_X", 1, 1)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"RAINBO_X must be one of json, text$"):
        env(RAINBO_X="xml").choice("RAINBO_X", "json", ("json", "text"))


SECRET = "hunter2=;,"


@pytest.mark.parametrize(
    "read",
    [
        lambda it: it.choice("RAINBO_X", "json", ("json", "text")),
        lambda it: it.flag("RAINBO_X", default=True),
        lambda it: it.integer("RAINBO_X", 5, 1, 10),
        lambda it: it.integers("RAINBO_X", "5", 1, 10),
        lambda it: it.optional_integer("RAINBO_X", 1, 10),
        lambda it: it.percent("RAINBO_X", 5),
        lambda it: it.rows_and_percent("RAINBO_X", 20, 10),
        lambda it: it.pairs("RAINBO_X", "a=1"),
        lambda it: it.limits("RAINBO_X", "a=1", 1, 10),
        lambda it: it.folder("RAINBO_X"),
        lambda it: it.file_or("RAINBO_X", "none"),
    ],
)
def test_no_failure_shows_the_value(read: Callable[[Environment], object]) -> None:
    with pytest.raises(ImproperlyConfigured) as failure:
        read(env(RAINBO_X=SECRET))
    assert "RAINBO_X must be" in str(failure.value)
    assert "hunter2" not in _printed(failure.value)


def test_a_secret_given_as_its_own_file_is_not_shown() -> None:
    with pytest.raises(
        ImproperlyConfigured, match="RAINBO_X_FILE names a relative path"
    ) as failure:
        env(RAINBO_X_FILE=SECRET).text("RAINBO_X", "")
    assert "hunter2" not in _printed(failure.value)


def _printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_apps_that_are_registered_at_services_are_found_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("in a file\n")
    found = env(
        RAINBO_GITHUB_CLIENT_ID="id-1",
        RAINBO_GITHUB_CLIENT_SECRET="secret-1",
        RAINBO_TOWN_LIBRARY_CLIENT_ID="id-2",
        RAINBO_TOWN_LIBRARY_CLIENT_SECRET_FILE=str(path),
        RAINBO_SLACK_CLIENT_ID="",
        RAINBO_SLACK_CLIENT_SECRET="",
    ).clients()
    assert found == {"github": ("id-1", "secret-1"), "town_library": ("id-2", "in a file")}


@pytest.mark.parametrize("name", ["RAINBO_GITHUB_CLIENT_ID", "RAINBO_GITHUB_CLIENT_SECRET"])
def test_an_app_without_its_other_half_is_rejected(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="belong together") as caught:
        env(**{name: "hush-hush"}).clients()
    assert "hush" not in str(caught.value)
