from __future__ import annotations

import unicodedata

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from tenants.find.live_lookup import UTF8_KEY
from tests.caches import query

pytestmark = pytest.mark.django_db

# NFC turns these into ASCII look-alikes; text with one of them keeps its own form.
MASKED = "\u212a\u037e\u1fef"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
PLAIN = TEXT.filter(lambda text: not set(MASKED) & set(text))
some = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def key(email: str) -> str:
    return str(query("SELECT rainbo_email_key(%s)", email)[0][0])


def ascii_lower(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


@some
@given(PLAIN)
def test_case_of_ascii_letters_does_not_matter(text: str) -> None:
    swapped = "".join(letter.swapcase() if letter.isascii() else letter for letter in text)
    assert key(text) == key(swapped)


@some
@given(PLAIN)
def test_composition_does_not_matter(text: str) -> None:
    assert key(unicodedata.normalize("NFD", text)) == key(unicodedata.normalize("NFC", text))


@some
@given(TEXT, TEXT)
def test_only_case_and_composition_bring_two_together(one: str, other: str) -> None:
    same = ascii_lower(unicodedata.normalize("NFC", one)) == ascii_lower(
        unicodedata.normalize("NFC", other)
    )
    assert same or key(one) != key(other)


@pytest.mark.parametrize(
    "pair",
    [
        ("\u0130da@x.com", "ida@x.com"),
        ("\u0131da@x.com", "ida@x.com"),
        ("\u212aarl@x.com", "karl@x.com"),
        ("\u017fam@x.com", "sam@x.com"),
        ("a\u037e@x.com", "a;@x.com"),
        ("a\u1fef@x.com", "a`@x.com"),
        ("stra\u00dfe@x.com", "strasse@x.com"),
        ("\u0430nn@x.com", "ann@x.com"),
    ],
)
def test_look_alikes_stay_apart(pair: tuple[str, str]) -> None:
    assert key(pair[0]) != key(pair[1])


def test_a_key_is_stored_in_c_collation() -> None:
    rows = query(
        "SELECT collname FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation "
        "WHERE attrelid = 'user_routes'::regclass AND attname = 'email_key'"
    )
    assert rows == [("C",)]


def test_a_look_up_uses_the_index() -> None:
    query("SET LOCAL enable_seqscan = off")
    plan = query(
        "EXPLAIN SELECT * FROM user_routes WHERE email_key = rainbo_email_key('Ann@example.com')"
    )
    assert any("routes_by_email" in line for (line,) in plan)


ODD = st.text(
    st.sampled_from("aZ\u212a\u037e\u1fef\u0130\u0131\u017f\u00e9e\u0301\u0374\ufb01K\u0308"),
    max_size=8,
)


@some
@given(ODD | TEXT)
def test_a_master_computes_the_same_key(text: str) -> None:
    statement = sql.SQL("SELECT {} FROM (SELECT %s::text AS email) AS source").format(UTF8_KEY)
    with connection.cursor() as cursor:
        cursor.execute(statement, [text])
        assert cursor.fetchone() == (key(text),)
