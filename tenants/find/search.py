"""What a person types finds: an e-mail, a part of it, words of a name, a tenant, an instance.

There are millions of routes: every search of them reads an index.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import connection
from django.db.models import Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Collate

from common.errors import UsageError
from common.terminal import is_one_line
from tenants.find import email_input, lookup
from tenants.find.by_index import ROUTES, TENANTS, Search, first_that_finds
from tenants.find.lookup import Lookup
from tenants.find.part_search import IS_THERE
from tenants.models import RdsInstance, Tenant, UserRoute
from tenants.models.instance import parse_id
from tenants.routes import queries
from tenants.routes.queries import Route

MOST = 20  # of each kind
LONGEST = 1_000  # characters: nothing that is stored has a longer name or e-mail
_HERE = re.compile(r"([0-9]+):(\S+)")
SECRET = ("password", "ssl_ca", "notes")  # of an instance
_NAME_KEY = Collate(Func("user_name", function="rainbo_name_key"), "C")

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
    """The e-mail itself first, then what else the term may mean; no route and no tenant twice.

    begin: e-mails that begin so. named: people with these words in their name. near: parts of words
    and spellings that are close. has_parts: parts can be found here. is_cut: a search took too
    long, so that there may be more.
    """

    term: str
    exact: Lookup
    begin: Matches[Route] = Matches()
    named: Matches[Route] = Matches()
    near: Matches[Route] = Matches()
    tenants: Matches[Tenant] = Matches()
    instances: Matches[RdsInstance] = Matches()
    has_parts: bool = False
    is_cut: bool = False

    @property
    def is_email(self) -> bool:
        """Whether it is about one e-mail: a known one, what looks like one, or nothing else."""
        return self.exact.is_known or "@" in self.term or not self.like_it

    @property
    def like_it(self) -> bool:
        kinds = (self.begin, self.named, self.near, self.tenants, self.instances)
        return any(kind.rows for kind in kinds)


def search(term: str) -> Found:
    """Everything that the term may mean. Raises UsageError for what can mean nothing."""
    if len(term.strip()) > LONGEST:
        raise UsageError(f"no e-mail and no name is longer than {LONGEST:,} characters")
    exact = _exact(term)
    term = exact.email
    key, words, has_parts = _read(term)
    known = [route.source_id for route in exact.shown + exact.withheld]
    others = UserRoute.objects.filter(email_key__gt=exact.key)
    begin = _ids(email_begins(others, exact.key))
    named = _ids(name_begins(_without(UserRoute.objects.all(), known + begin), key))
    tenants, near = _with_id(term), []
    look = Search(term, words, MOST + 1, has_parts)
    part = exact.key if "@" in term else key
    with look.bounded():
        if len(named) <= MOST:
            named += look.with_words(ROUTES, known + begin + named)
        tenants += look.with_words(TENANTS, tenants)
        if len(tenants) <= MOST:
            tenants += look.with_part(TENANTS, key, tenants)
        if not exact.is_known:
            near += look.with_part(ROUTES, part, begin + named)
        if not (exact.is_known or begin or named or near or tenants):
            near += first_that_finds(
                lambda: look.misspelt_emails(exact.key),
                lambda: look.misspelt(ROUTES),
                lambda: look.similar(ROUTES, part),
            )
            tenants += first_that_finds(
                lambda: look.misspelt(TENANTS), lambda: look.similar(TENANTS, key)
            )
    of_begin, of_named, of_near = _routes(begin, named, near)
    return Found(
        term,
        exact,
        begin=of_begin,
        named=of_named,
        near=of_near,
        tenants=_tenants(tenants),
        instances=instances(term),
        has_parts=has_parts,
        is_cut=look.is_cut,
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


def instances(term: str) -> Matches[RdsInstance]:
    """Those with this id, name, group or label, or whose host begins so: a fleet has few."""
    if not (label := term.strip().lower()) or "@" in label:
        return Matches()
    like = Q(name__icontains=label) | Q(host__istartswith=label) | Q(group__iexact=label)
    like |= Q(labels__contains=[label])
    if (number := parse_id(label)) is not None:
        like |= Q(pk=number)
    rows = RdsInstance.objects.filter(like).defer(*SECRET).order_by("pk")
    return Matches.first(list(rows[: MOST + 1]))


def _read(term: str) -> tuple[str, list[str], bool]:
    """The term as names are compared, and as words; and whether parts can be found."""
    asked = f"SELECT rainbo_name_key(%s), rainbo_name_words(%s), {IS_THERE}"
    with connection.cursor() as cursor:
        cursor.execute(asked, [term, term])
        key, words, has_parts = cursor.fetchone()
    return str(key), list(words), bool(has_parts)


def _ids(chosen: Routes) -> list[str]:
    return list(chosen.values_list("source_id", flat=True)[: MOST + 1])


def _without(routes: Routes, ids: list[str]) -> Routes:
    return routes.exclude(source_id__in=ids) if ids else routes


def _routes(*kinds: list[str]) -> list[Matches[Route]]:
    """Read those of all kinds at once; each keeps its order."""
    wanted = [pk for ids in kinds for pk in ids[:MOST]]
    found = {route.source_id: route for route in queries.routes_by_id(wanted)} if wanted else {}
    return [
        Matches(tuple(found[pk] for pk in ids[:MOST] if pk in found), len(ids) > MOST)
        for ids in kinds
    ]


def _tenants(ids: list[int]) -> Matches[Tenant]:
    rows = Tenant.objects.select_related("instance").defer(
        *(f"instance__{name}" for name in SECRET)
    )
    found = rows.in_bulk(ids[:MOST]) if ids else {}
    return Matches(tuple(found[pk] for pk in ids[:MOST] if pk in found), len(ids) > MOST)


def _with_id(term: str) -> list[int]:
    """By the unique index on instance and id: one probe for each instance."""
    if (here := _HERE.fullmatch(term)) and (number := parse_id(here[1])) is not None:
        rows = Tenant.objects.filter(instance_id=number, remote_id=here[2])
    elif len(term.split()) != 1 or "@" in term:
        return []
    else:
        known = list(RdsInstance.objects.values_list("pk", flat=True))
        rows = Tenant.objects.filter(instance_id__in=known, remote_id=term)
    return list(rows.order_by("instance_id").values_list("pk", flat=True)[: MOST + 1])
