"""Tables as CSV files that a spreadsheet opens without harm."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest

from common.csv_export import csv_response, guarded


def lines(response: Any) -> list[list[str]]:
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.reader(StringIO(text)))


def test_rows_come_out_as_they_went_in() -> None:
    rows = [("Zoë, “quoted”", 1), ('say "hi"', None)]
    response = csv_response("people.csv", ("name", "count"), rows)
    assert lines(response) == [["name", "count"], ["Zoë, “quoted”", "1"], ['say "hi"', ""]]
    assert response["Content-Disposition"] == 'attachment; filename="people.csv"'
    assert response["Cache-Control"] == "no-store"


def test_a_spreadsheet_is_told_that_it_is_utf_8() -> None:
    response: Any = csv_response("a.csv", ("é",), [])
    assert b"".join(response.streaming_content) == b"\xef\xbb\xbf\xc3\xa9\r\n"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+49 30", "-1", "@SUM(A1)", "\t1", "\r1", "\n", " =1+1", "＝1", "＠x"]
)
def test_no_cell_is_a_formula(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", [-1, 2.5, True, None, "a=b", "", datetime(2026, 1, 1, tzinfo=UTC)])
def test_numbers_and_plain_text_stay(cell: Any) -> None:
    assert guarded(cell) == cell


def test_nothing_is_read_beyond_the_limit_and_the_file_says_so() -> None:
    read: list[int] = []

    def rows() -> Iterator[tuple[int]]:
        for number in range(100):
            read.append(number)
            yield (number,)

    found = lines(csv_response("a.csv", ("n",), rows(), limit=3))
    assert found == [
        ["n"],
        ["0"],
        ["1"],
        ["2"],
        ["Only the first 3 rows are included: filter the list further."],
    ]
    assert len(read) == 4


def test_as_many_rows_as_the_limit_are_all_of_them() -> None:
    assert lines(csv_response("a.csv", ("n",), [(1,), (2,)], limit=2)) == [["n"], ["1"], ["2"]]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "\n", "\r\n"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝"])
@pytest.mark.parametrize("between", ["", " ", '"', ' "'])
def test_no_part_of_a_cell_is_a_formula_whatever_lines_are_split_at(
    separator: str, sign: str, between: str
) -> None:
    text = f"Name{separator}{between}{sign}1"
    response: Any = csv_response("a.csv", ("name", "more"), [(text, "x")])
    line = b"".join(response.streaming_content).decode("utf-8-sig").split("\r\n", 1)[1]
    for part in re.split(r"[;,|\t\r\n]", line):
        assert not part.lstrip(' "').startswith(sign), line


@pytest.mark.parametrize("text", ["a-b; c", "1,5", "x; y", "a=b", "me@example.com;you@example.com"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert guarded(text) == text


@pytest.mark.parametrize("signs", ["\t", "\n", ";", "'", ", "])
def test_a_long_cell_costs_no_more_than_its_length(signs: str) -> None:
    """Somebody else chooses it: a name of tabs alone took a minute once."""
    began = time.process_time()
    guarded(f"x{signs * 30_000}")
    assert time.process_time() - began < 2
