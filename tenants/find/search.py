"""Routes and tenants by what a person types: an e-mail, its beginning, a name, or an id.

There are millions of routes: every search here reads an index, and only what it returns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import connection, transaction
from django.db.models import Func, QuerySet, TextField, Value
from django.db.models.functions import Collate

from common.errors import UsageError
from common.terminal import is_one_line
from tenants.find import email_input, lookup
from tenants.find.lookup import Lookup
from tenants.models import RdsInstance, Tenant, UserRoute
from tenants.models.instance import parse_id
from tenants.routes import queries
from tenants.routes.queries import Route
from tenants.summaries.search import BY_WORD

MOST = 20  # of each kind
LONGEST = 1_000  # characters: nothing that is stored has a longer name or e-mail
_HERE = re.compile(r"([0-9]+):(\S+)")
_NAME_KEY = Collate(Func("user_name", function="rainbo_name_key"), "C")
_WITH_WORDS = f"SELECT id FROM tenant_master WHERE {BY_WORD} AND id <> ALL(%s) LIMIT %s"  # noqa: S608

T = TypeVar("T")
Key = str | Func
Routes = QuerySet[UserRoute]


@dataclass(frozen=True)
class Matches(Generic[T]):
    """The first that match. more: there are others."""

    rows: tuple[T, ...] = ()
    more: bool = False

    @classmethod
    def first(cls, rows: Sequence[T]) -> Matches[T]:
        """Of one more than are shown."""
        return cls(tuple(rows[:MOST]), len(rows) > MOST)


@dataclass(frozen=True)
class Found:
    """The e-mail itself first, then what begins so: e-mails, people's names, and tenants."""

    term: str
    exact: Lookup
    begin: Matches[Route]
    named: Matches[Route]
    tenants: Matches[Tenant]

    @property
    def is_email(self) -> bool:
        """Whether it is about one e-mail: a known one, what looks like one, or nothing else."""
        return self.exact.is_known or "@" in self.term or not self.like_it

    @property
    def like_it(self) -> bool:
        return bool(self.begin.rows or self.named.rows or self.tenants.rows)


def search(term: str) -> Found:
    """Everything that the term may mean. Raises UsageError for what can mean nothing."""
    if len(term.strip()) > LONGEST:
        raise UsageError(f"no e-mail and no name is longer than {LONGEST:,} characters")
    exact = _exact(term)
    term = exact.email
    key = name_key(term)
    return Found(
        term=term,
        exact=exact,
        begin=_routes(email_begins(UserRoute.objects.filter(email_key__gt=exact.key), exact.key)),
        named=_routes(name_begins(UserRoute.objects.all(), key)),
        tenants=tenants(term),
    )


def _exact(typed: str) -> Lookup:
    """Of the very letters typed when they are an e-mail that is known, else of those meant."""
    term = email_input.extract_email(typed)
    if term != typed and is_one_line(typed) and (found := lookup.find(typed)).is_known:
        return found
    return lookup.find(term)


def email_key(term: str) -> Func:
    """The key of an e-mail, worked out in the query that needs it."""
    return Func(Value(term), function="rainbo_email_key", output_field=TextField())


def email_is(routes: Routes, key: Key) -> Routes:
    return routes.filter(email_key=key)


def email_begins(routes: Routes, key: Key) -> Routes:
    return routes.filter(email_key__startswith=key).order_by("email_key", "source_id")


def name_begins(routes: Routes, key: str) -> Routes:
    """In the order of the index alone: many people may have one name."""
    if not key:
        return routes.none()
    named = routes.alias(name_key=_NAME_KEY).filter(name_key__startswith=key)
    return named.order_by("name_key")


def tenants(term: str) -> Matches[Tenant]:
    """Those with this id, alone or as `instance:id`; then those with these words."""
    by_id = _with_id(term)
    found = [*by_id, *_with_words(term, by_id)]
    return Matches.first(found)


def name_key(name: str) -> str:
    """How names are compared, by the one function that knows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rainbo_name_key(%s)", [name])
        (key,) = cursor.fetchone()
    return str(key)


def _routes(chosen: Routes) -> Matches[Route]:
    ids = list(chosen.values_list("source_id", flat=True)[: MOST + 1])
    return Matches.first(queries.routes_by_id(ids))


def _tenants() -> QuerySet[Tenant]:
    secret = ("instance__password", "instance__ssl_ca", "instance__notes")
    return Tenant.objects.select_related("instance").defer(*secret).order_by()


def _with_id(term: str) -> list[Tenant]:
    """By the unique index on instance and id: one probe for each instance."""
    if (here := _HERE.fullmatch(term)) and (number := parse_id(here[1])) is not None:
        return list(_tenants().filter(instance_id=number, remote_id=here[2]))
    if len(term.split()) != 1 or "@" in term:
        return []
    instances = list(RdsInstance.objects.values_list("pk", flat=True))
    return list(_tenants().filter(instance_id__in=instances, remote_id=term)[: MOST + 1])


def _with_words(term: str, but: Sequence[Tenant]) -> list[Tenant]:
    """Each word typed begins one of theirs. In the order found: sorting would read all."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Without statistics of the word, the planner may expect to find it early in the table.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(_WITH_WORDS, [term, [tenant.pk for tenant in but], MOST + 1])
        ids = [pk for (pk,) in cursor.fetchall()]
        cursor.execute("SET LOCAL enable_seqscan = on")
    return list(_tenants().filter(pk__in=ids).order_by("instance", "name"))
