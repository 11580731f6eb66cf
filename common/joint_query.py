"""Several questions to RAINBO's own database in one statement: one round trip, one snapshot."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Model, QuerySet

Row = dict[str, Any]
K = TypeVar("K", bound=Hashable)
M = TypeVar("M", bound=Model)


class Statement(NamedTuple):
    """A SELECT whose columns have names."""

    sql: str
    parameters: Mapping[str, object] | Sequence[object] = ()


# A queryset is one of values(); what was never asked is answered by no rows.
Question = Statement | QuerySet[Any, Any]
Questions = Mapping[str, Question]
Answers = Mapping[str, list[Row]]


def answer(questions: Mapping[K, Question]) -> dict[K, list[Row]]:
    """Return the rows of each question in its order, by its key.

    They come as JSON: a time is a string in ISO 8601, for `datetime.fromisoformat`.
    """
    found: dict[K, list[Row]] = {key: [] for key in questions}
    with connection.cursor() as cursor:  # an ended session is replaced here
        asked = {key: sql for key, question in questions.items() if (sql := _sql(question))}
        if not asked:
            return found
        columns = ",\n".join(
            f"(SELECT json_agg(to_json(answer)) FROM ({sql}) AS answer)::text"  # noqa: S608
            for sql in asked.values()
        )
        cursor.execute(f"SELECT {columns}")
        for key, rows in zip(asked, cursor.fetchone(), strict=True):
            found[key] = json.loads(rows) if rows else []
    return found


def compiled(rows: QuerySet[Any, Any]) -> Statement:
    """Return a queryset as text, for a question that never changes: Django builds it once.

    Raises EmptyResultSet for one that can have no rows.
    """
    sql, parameters = rows.query.get_compiler(connection=connection).as_sql()
    return Statement(sql, parameters)


def as_model(model: type[M], row: Row) -> M:
    """Return a row as a model; fields that it does not have are read when they are needed."""
    fields = [field for field in model._meta.concrete_fields if field.attname in row]
    values = [field.to_python(row[field.attname]) for field in fields]
    return model.from_db(connection.alias, [field.attname for field in fields], values)


def _sql(question: Question) -> str:
    """Return its text with its values in it; empty if it can have no rows."""
    try:
        sql, parameters = question if isinstance(question, Statement) else compiled(question)
    except EmptyResultSet:
        return ""
    operations: Any = connection.ops
    return cast("str", operations.compose_sql(sql, parameters))
