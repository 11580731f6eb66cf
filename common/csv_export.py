"""Tables as CSV files that a spreadsheet opens without harm."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

LIMIT = 100_000
BOM = "\ufeff"  # without it, spreadsheets read UTF-8 as something else
# Spreadsheets let people choose where lines are split, and quotes hold only for that separator.
# Whatever follows a separator is passed over at once, so that many blanks are read once.
WITHIN = re.compile(r"([;,|\t\r\n][\s\"']*+)([=+\-@＝＋－＠]?)")
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
BREAKS = ("\t", "\r", "\n")


def csv_response(
    filename: str, header: Sequence[str], rows: Iterable[Sequence[Any]], limit: int | None = LIMIT
) -> StreamingHttpResponse:
    """The rows as a download, streamed; a last line says when rows after the limit are missing."""
    response = StreamingHttpResponse(
        _lines(header, rows, limit), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = content_disposition_header(True, filename)
    response["Cache-Control"] = "no-store"
    return response


def guarded(cell: Any) -> Any:
    """The cell so that no spreadsheet takes it, or a part of it, for a formula.

    Numbers stay numbers.
    """
    if cell is None or isinstance(cell, int | float | date):
        return cell
    text = WITHIN.sub(_parted, str(cell))
    risky = text.lstrip().startswith(FORMULA) or text.startswith(BREAKS)
    return f"'{text}" if risky else text


def utc(at: datetime | None) -> str:
    """A moment in UTC as ISO 8601 has it; empty for None."""
    return at.astimezone(UTC).isoformat() if at else ""


def _parted(found: re.Match[str]) -> str:
    blanks, sign = found.groups()
    return f"{blanks}'{sign}" if sign else blanks


def _lines(
    header: Sequence[str], rows: Iterable[Sequence[Any]], limit: int | None
) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield BOM + writer.writerow(header)
    more = iter(rows)
    for row in islice(more, limit):
        yield writer.writerow([guarded(cell) for cell in row])
    if next(more, None) is not None:
        yield writer.writerow(
            [f"Only the first {limit:,} rows are included: filter the list further."]
        )


class _Echo:
    """A file for csv.writer that hands each line back."""

    def write(self, line: str) -> str:
        return line
