from __future__ import annotations

import pytest

from localfleet.demo.manage_command import words_of


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rainbo_status  --check", ["rainbo_status", "--check"]),
        ("find_user o'brien@x.example", ["find_user", "o'brien@x.example"]),
        ("x --reason 'two words' y", ["x", "--reason", "two words", "y"]),
        ('x --reason="it\'s $HOME"', ["x", "--reason=it's $HOME"]),
        ("find_user ''", ["find_user", ""]),
        ("add_instance --ssl-ca=''", ["add_instance", "--ssl-ca="]),
        ("""find_user 'o'"'"'brien@x.example' y""", ["find_user", "o'brien@x.example", "y"]),
        ("x '$(touch y)@z'", ["x", "$(touch y)@z"]),
        ("find_user 'half", ["find_user", "'half"]),
        ("", []),
    ],
)
def test_a_line_is_taken_apart(line: str, words: list[str]) -> None:
    assert words_of(line) == words
