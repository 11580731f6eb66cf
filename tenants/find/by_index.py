"""Searches for words of names, for typing errors and for parts of words, each by a GIN index.

They scan no table, and a statement that takes too long is given up: what was found until then is
shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg import errors

from tenants.find import part_search, typos
from tenants.routes import part_index
from tenants.summaries.search import WORDS

SECONDS = 2  # of one statement

_SETTINGS = """
    SELECT current_setting('statement_timeout'), set_config('enable_seqscan', %s, true),
           set_config('statement_timeout', %s, true)"""
# Without three letters in a row, an index of trigrams would be read from end to end.
_HAS_TRIGRAM = "EXISTS (SELECT FROM unnest(show_trgm(%s)) AS t (trigram) WHERE trigram !~ ' ')"


@dataclass(frozen=True)
class Table:
    """words, part: what its indexes hold, word for word."""

    name: str
    pk: str
    words: str
    part: str


ROUTES = Table(
    "user_routes",
    "source_id",
    "array_to_tsvector(rainbo_name_words(user_name))",
    part_index.TEXT,
)
TENANTS = Table("tenant_master", "id", WORDS, part_search.OF_TENANT)


@dataclass
class Search:
    """Of one term. words: it, as names are split. most: rows that a search returns.

    has_parts: there are indexes of parts. is_cut: a statement was given up. but: rows that were
    found before and are left out.
    """

    term: str
    words: Sequence[str]
    most: int
    has_parts: bool
    is_cut: bool = field(default=False, init=False)

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Set limits for the statements inside; end it with the first that takes too long."""
        is_inner = connection.in_atomic_block
        try:
            with transaction.atomic():
                (before,) = _ask(_SETTINGS, "off", f"{SECONDS}s")
                yield
                if is_inner:  # the end of a transaction ends them, too, but not that of a savepoint
                    _ask(_SETTINGS, "on", before)
        except OperationalError as error:
            if not isinstance(error.__cause__, errors.QueryCanceled):
                raise
            self.is_cut = True

    def with_words(self, table: Table, but: Sequence[Any]) -> list[Any]:
        """Those that have a word for each of the term's, in any order, that begins with it."""
        return self._find(table, f"{table.words} @@ rainbo_word_query(%s)", but, self.term)

    def misspelt(self, table: Table) -> list[Any]:
        """Like with_words, where each word may have one wrong letter."""
        query = typos.words(self.words)
        return self._find(table, f"{table.words} @@ %s::tsquery", [], query) if query else []

    def misspelt_emails(self, key: str) -> list[Any]:
        meant = typos.emails(key)
        return self._find(ROUTES, "email_key = ANY(%s)", [], meant) if meant else []

    def with_part(self, table: Table, part: str, but: Sequence[Any]) -> list[Any]:
        if not self.has_parts:
            return []
        condition = f"{table.part} LIKE %s AND {_HAS_TRIGRAM}"
        return self._find(table, condition, but, f"%{_escaped(part)}%", part)

    def similar(self, table: Table, part: str) -> list[Any]:
        """Those in which most of the term's trigrams stand together, the most similar first."""
        if not self.has_parts:
            return []
        condition = f"%s <%% {table.part} AND {_HAS_TRIGRAM}"
        order = f"ORDER BY word_similarity(%s, {table.part}) DESC, {table.pk}"
        return self._find(table, condition, [], part, part, order=order, by=[part])

    def _find(
        self,
        table: Table,
        condition: str,
        but: Sequence[Any],
        *given: Any,
        order: str = "",
        by: Sequence[Any] = (),
    ) -> list[Any]:
        statement = (
            f"SELECT {table.pk} FROM {table.name} WHERE {condition} "  # noqa: S608 (constants)
            f"AND {table.pk} <> ALL(%s) {order} LIMIT %s"
        )
        with connection.cursor() as cursor:
            cursor.execute(statement, [*given, [*but], *by, self.most])
            found = [pk for (pk,) in cursor.fetchall()]
        return found if order else sorted(found)


def first_that_finds(*searches: Callable[[], list[Any]]) -> list[Any]:
    """Try one after the other until something is found."""
    return next((found for search in searches if (found := search())), [])


def _ask(statement: str, *given: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        row: tuple[Any, ...] = cursor.fetchone()
        return row[:1]


def _escaped(part: str) -> str:
    return part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
