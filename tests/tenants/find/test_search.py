"""What a person types finds routes and tenants, by an index each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from common.errors import UsageError
from tenants.find import by_index, part_search
from tenants.find.search import MOST, Found, email_begins, name_begins, search
from tenants.models import Tenant, UserRoute
from tests.caches import query
from tests.console.measure import measured
from tests.rows import instance_row

pytestmark = pytest.mark.django_db


def route(source_id: str, email: str = "", name: str | None = None, **fields: Any) -> UserRoute:
    email = email or f"{source_id}@example.com"
    ((key,),) = query("SELECT rainbo_email_key(%s)", email)
    known = {"remote_instance_id": "1", "on_master": True, "remote_tenant_id": "5"}
    more = {"remote_user_id": source_id, "status": "Active", "changed_at": timezone.now()}
    return UserRoute.objects.create(
        source_id=source_id, email=email, email_key=key, user_name=name, **known | more | fields
    )


def tenant(remote_id: str, name: str, instance_id: int = 1) -> Tenant:
    return Tenant.objects.create(
        instance_id=instance_id, remote_id=remote_id, name=name, cache_refreshed_at=timezone.now()
    )


def begin(found: Found) -> list[str]:
    return [row.source_id for row in found.begin.rows]


def named(term: str) -> list[str]:
    return [row.source_id for row in search(term).named.rows]


def tenants(term: str) -> list[str]:
    return [row.name for row in search(term).tenants.rows]


def test_the_email_itself_comes_first_and_then_what_begins_so() -> None:
    route("a", "Ann@example.com")
    route("b", "ann@example.com.au")
    route("c", "ann@example.co")
    found = search(" ANN@example.com ")
    assert [row.source_id for row in found.exact.shown] == ["a"]
    assert begin(found) == ["b"]
    assert begin(search("ann@example.c")) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Zoë Müller", "zoe mul"),
        ("Zoe Muller", "ZOË MÜ"),
        ("Łukasz Ørsted", "lukasz or"),
        ("Straße", "STRASSE"),
        ("Sean O’Brien", "sean o'b"),
        ("Дмитрий Иванов", "дмитрий ИВ"),
        ("Ελένη", "ελενη"),
        ("  Ann", "ann"),
        ("Æsop", "aeso"),
    ],
)
def test_names_are_found_without_case_and_accents(name: str, typed: str) -> None:
    route("a", name=name)
    route("b", name="Somebody Else")
    assert named(typed) == ["a"]


@pytest.mark.parametrize(
    "typed", ["Smith", "smi", "jones-smi", "o'brien", "maria smith", "smith ann", "brien"]
)
def test_people_are_found_by_any_words_of_their_name(typed: str) -> None:
    route("a", name="Ann-Maria O'Brien Jones-Smith")
    route("b", name="Ann Somebody")
    assert named(typed) == ["a"]


def test_who_is_called_so_comes_before_who_is_also_called_so() -> None:
    route("a", name="Ann Kay")
    route("b", name="Kay Ann")
    assert named("kay") == ["b", "a"]


def test_no_route_is_found_twice() -> None:
    route("a", "kay@b.c", name="kay@b.c")
    route("b", "kay@b.com", name="Kay Kay")
    route("c", "x@b.c", name="kay@b.c")
    assert rows(search("kay@b.c")) == {"exact": ["a"], "begin": ["b"], "named": ["c"]}
    assert rows(search("kay")) == {"begin": ["a", "b"], "named": ["c"]}


def rows(found: Found) -> dict[str, list[str]]:
    """The routes of each kind that has any."""
    kinds = {kind: getattr(found, kind).rows for kind in ("begin", "named", "near")}
    kinds = {"exact": found.exact.shown} | kinds
    return {kind: [row.source_id for row in found] for kind, found in kinds.items() if found}


@pytest.mark.parametrize("typed", ["%", "_oe", "oe", "ller", "zoe xa", "z" * 300])
def test_other_names_are_not_found(typed: str) -> None:
    route("a", name="Zoë Müller")
    route("b", name=None)
    assert named(typed) == []


def test_the_longest_name_can_be_stored_and_found() -> None:
    name = "\u1e9e\ufdfa" * 500  # letters that become more when they are compared
    route("a", name=name)
    instance_row(1)
    tenant("1", name)
    assert named(name[:20]) == ["a"]
    assert tenants(name[:20]) == [name]


def test_wildcards_and_quotes_are_letters() -> None:
    instance_row(1)
    route("a", "a%b_c\\d@example.com", name="100% O'Neil \\ Co_")
    route("b", "axbxc@example.com", name="1000 ONeil")
    tenant("1", "O'Neil & Sons | !x:* \\ 'y'")
    assert begin(search("a%b_c\\")) == ["a"]
    assert named("100% o'neil \\ co_") == ["a"]
    for typed in ("o'neil", "!x:*", "'y'", "& sons"):
        assert len(tenants(typed)) == 1, typed
    assert tenants("!z") == tenants("\\") == []


def test_a_tenant_is_found_by_the_beginning_of_any_words() -> None:
    instance_row(1)
    tenant("1", "The Beacon  Opticians")
    tenant("2", "Bäckerei Süß")
    assert tenants("opti") == ["The Beacon  Opticians"]
    assert tenants("opticians bea") == ["The Beacon  Opticians"]
    assert tenants("backerei suss") == ["Bäckerei Süß"]
    assert tenants("ticians") == tenants("opticians xa") == []


def test_a_tenant_is_found_by_its_id() -> None:
    for number in (1, 2):
        instance_row(number)
        tenant("7", f"Seven on {number}", number)
    tenant("0ab-c", "By uuid", 2)
    assert tenants("7") == ["Seven on 1", "Seven on 2"]
    assert tenants("2:7") == ["Seven on 2"]
    assert tenants("2:0ab-c") == ["By uuid"]
    assert tenants("0ab-c") == ["By uuid"]
    assert tenants("02:7") == tenants("3:7") == []


@pytest.mark.parametrize("typed", ["rds2", "2", "DS2", "2.db", "Berlin", "gold"])
def test_instances_are_found_by_what_names_them(typed: str) -> None:
    instance_row(1)
    instance_row(2, host="2.db.example", group="berlin", labels=["gold"])
    assert [row.pk for row in search(typed).instances.rows] == [2]
    assert not search("rds2@example.com").instances.rows


def test_an_id_comes_before_names_and_once() -> None:
    instance_row(1)
    tenant("9", "7 Eleven")
    tenant("7", "7 Dwarfs")
    assert tenants("7") == ["7 Dwarfs", "7 Eleven"]


def test_the_first_are_shown_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.find.search.MOST", 2)
    instance_row(1)
    for letter in "abc":
        route(letter, f"x{letter}@example.com")
        route(f"{letter}{letter}", name="X")
        tenant(letter, "X")
    found = search("x")
    for matches in (found.begin, found.named, found.tenants):
        assert (len(matches.rows), matches.more) == (2, True)
    assert not search("xa").begin.more


@pytest.mark.parametrize("term", ["a\0b", "a\nb", "\udcff", "", "x" * 1001, "a\u202eb"])
def test_what_can_mean_nothing_is_refused(term: str) -> None:
    with pytest.raises(UsageError):
        search(term)


@pytest.mark.parametrize(
    "typed",
    [
        *(
            "<a@b.c>",
            "Ann B. <a@b.c>",
            '"B, Ann" <A@b.c>;',
            "mailto:a@b.c",
            "MAILTO:a%40b.c?subject=x",
        ),
        *("<mailto:a@b.c>", "a@b.c,", "a@b.c ; ", "a@b.c.", "(a@b.c)", "'a@b.c'", "\ta@b.c\r\n"),
        *("a@b.c\u200b", "\ufeffa@b.c", "\u202aa@b.c\u202c ", "\u200b <a@b.c>"),
    ],
)
def test_an_email_is_found_as_it_is_pasted(typed: str) -> None:
    route("a", "a@b.c")
    found = search(typed)
    assert [row.source_id for row in found.exact.shown] == ["a"]
    assert found.term.lower() == "a@b.c"


@pytest.mark.parametrize("stored", ["  spaced@b.c ", "<a@b.c>", "mailto:a@b.c", "a@b.c,"])
def test_an_odd_email_is_found_as_it_is_stored(stored: str) -> None:
    route("a", stored)
    assert [row.source_id for row in search(stored).exact.shown] == ["a"]
    assert search(stored).term == stored
    assert not search("a@b.c").exact.shown


def test_names_stay_as_they_are_typed() -> None:
    assert search("  Meyer & Co. ").term == "Meyer & Co."
    assert search("<b>, <c@d>").term == "<b>, <c@d>"


def test_letters_that_look_like_others_are_named() -> None:
    route("a", "kim@example.com")
    found = search("\u212aim@example.com")
    assert not found.exact.shown
    assert "“\u212a” KELVIN SIGN" in found.exact.why[-1]
    assert "look-alike" not in str(search("eve@example.com").exact.why)


@pytest.mark.parametrize(
    "typed", ["ann.smiht@example.com", "annsmith@example.com", "Smiht", "ann smih"]
)
def test_one_wrong_letter_is_found_when_nothing_else_is(typed: str) -> None:
    route("a", "ann.smith@example.com", name="Ann Smith")
    route("b", "bob@example.com", name="Bob Smart")
    found = search(typed)
    assert rows(found) == {"near": ["a"]}
    assert found.is_email is ("@" in typed)
    route("c", "c@d.e", name="Ann Smihtson" if "t" in typed else "Ann Smihson")
    assert rows(search(typed)) == ({"near": ["a"]} if "@" in typed else {"named": ["c"]})


def test_a_misspelt_tenant_is_found() -> None:
    instance_row(1)
    tenant("1", "Beacon Opticians")
    assert tenants("baecon opti") == ["Beacon Opticians"]


def test_parts_need_their_index() -> None:
    route("a", "ann.smith@example.com", name="Ann Smith")
    found = search("nn.smi")
    assert not found.has_parts
    assert rows(found) == {}


@pytest.fixture
def parts() -> None:
    """As setup_part_search has it."""
    query("CREATE EXTENSION pg_trgm")
    for statement in part_search.INDEXES.values():
        query(statement)


@pytest.mark.parametrize("typed", ["nn.smi", "mith", "smith@exa", "n SMÏ", "h@example.co"])
def test_parts_of_words_are_found_by_their_index(parts: None, typed: str) -> None:
    route("a", "ann.smith@example.com", name="Ann Smïth")
    route("b", "bob@example.org", name="Bob Kay")
    assert rows(search(typed)) == {"near": ["a"]}
    assert search(typed).has_parts


def test_more_wrong_letters_are_found_by_the_index_of_parts(parts: None) -> None:
    route("a", "jonathan.smith@example.com")
    route("b", "joe.kay@example.com")
    assert rows(search("jonathon.smyth@example.com")) == {"near": ["a"]}


def test_a_part_of_a_tenants_name_or_contact_is_found(parts: None) -> None:
    instance_row(1)
    tenant("1", "Beacon Opticians")
    Tenant.objects.update(contact_email="info@kestrel.example")
    for typed in ("ticians", "estrel", "opticiens beecon"):
        assert tenants(typed) == ["Beacon Opticians"], typed


@pytest.mark.parametrize("typed", ["nn", "q%", "%%%", "___", "n_.s", "\\"])
def test_a_part_without_three_letters_reads_no_index(parts: None, typed: str) -> None:
    route("a", "ann.smith@example.com", name="Ann Smith")
    assert rows(search(typed)) == {}


def test_a_search_that_takes_too_long_shows_what_was_found(
    parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    route("a", "ann.smith@example.com", name="Kay Ann")
    route("b", "b@example.com", name="Ann Smith")
    monkeypatch.setattr(by_index, "SECONDS", 0.2)
    monkeypatch.setattr(by_index, "_HAS_TRIGRAM", "pg_sleep(60) IS NOT NULL AND %s <> ''")
    found = search("smith")
    assert (rows(found), found.is_cut) == ({"named": ["b"]}, True)
    assert query("SHOW statement_timeout") != [("200ms",)]


@pytest.mark.parametrize(
    ("filtered", "index"),
    [(email_begins, "routes_by_email"), (name_begins, "routes_by_name")],
)
def test_the_searches_of_routes_read_their_index_in_its_order(
    filtered: Callable[[QuerySet[UserRoute], str], QuerySet[UserRoute]], index: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO user_routes (source_id, email, email_key, remote_instance_id, on_master, "
            "remote_tenant_id, remote_user_id, user_name, changed_at) "
            "SELECT n, 'u' || n, 'u' || n, '1', true, '1', n, 'User ' || n, now() "
            "FROM generate_series(1, 5000) AS n"
        )
        cursor.execute("ANALYZE user_routes")
    chosen = filtered(UserRoute.objects.all(), "u")
    plan = chosen[:MOST].explain()
    assert f"using {index}" in plan
    assert "Sort" not in plan.replace("Sort Key", "") or "Presorted" in plan


def test_words_parts_and_near_misses_are_read_by_their_indexes(parts: None) -> None:
    """No statement of a search reads the table of routes or of tenants from end to end."""
    instance_row(1)
    query(
        "INSERT INTO user_routes (source_id, email, email_key, remote_instance_id, on_master, "
        "remote_tenant_id, remote_user_id, user_name, changed_at) "
        "SELECT n, 'u' || n, 'u' || n || '@x.yz', '1', true, '1', n, 'User Number' || n, now() "
        "FROM generate_series(1, 5000) AS n"
    )
    query(
        "INSERT INTO tenant_master (instance_id, remote_id, name, status, cache_refreshed_at) "
        "SELECT 1, n, 'Tenant ' || n, 'active', now() FROM generate_series(1, 5000) AS n"
    )
    query("ANALYZE user_routes, tenant_master")
    for typed in ("number77", "umber77", "nubmer77", "u77@x.zy", "zzyzx", "tenant 77", "%"):
        with measured() as cost:
            search(typed)
        assert not {"user_routes_all", "tenant_master"} & {*cost.scanned}, typed
        assert cost.total < 1_000, (typed, cost.most)
