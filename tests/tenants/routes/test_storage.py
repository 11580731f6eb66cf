"""The indexes of user_routes are those that the docs name, and each answers its query."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.caches import query

pytestmark = pytest.mark.django_db
PAGE = Path(__file__).parents[3] / "docs" / "how-a-sync-works.md"

USED = {
    "user_routes_pkey": "source_id = '5'",
    "routes_by_email": "email_key = 'a@b.c'",
    "routes_by_tenant": "remote_instance_id = '3' AND remote_tenant_id = '7'",
    "routes_by_name": """rainbo_name_key(user_name) COLLATE "C" = 'ann 7'""",
    "routes_by_word": "array_to_tsvector(rainbo_name_words(user_name)) @@ rainbo_word_query('7')",
    "routes_withheld": "email_key = 'a@b.c' AND withheld_reason IS NOT NULL",
}
PREFIXES = {
    "user_routes_pkey": "source_id >= '5' AND source_id < '6'",
    "routes_by_email": "email_key LIKE 'a@%'",
    "routes_by_tenant": "remote_instance_id = '3'",
    "routes_by_name": """rainbo_name_key(user_name) COLLATE "C" LIKE 'ann 7%'""",
    "routes_by_word": "array_to_tsvector(rainbo_name_words(user_name)) @@ rainbo_word_query('77')",
    "routes_withheld": "withheld_reason IS NOT NULL",
}


@pytest.fixture
def many() -> None:
    query(
        "INSERT INTO user_routes (source_id, email, email_key, remote_instance_id, on_master, "
        "remote_tenant_id, remote_user_id, user_name, changed_at) "
        "SELECT n::text, n || '@b.c', n || '@b.c', (n % 100)::text, false, (n % 50)::text, "
        "n::text, 'Ann ' || n, now() FROM generate_series(1, 20000) AS n"
    )
    query("ANALYZE user_routes")


def indexes() -> set[str]:
    return {
        name
        for (name,) in query("SELECT indexname FROM pg_indexes WHERE tablename = 'user_routes'")
    }


def test_every_index_is_named_in_the_docs_and_no_other() -> None:
    named = re.findall(r"^\| `(\w+)` \| `\(", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert indexes() == set(named) == USED.keys()


@pytest.mark.parametrize("conditions", [USED, PREFIXES], ids=["equality", "prefix"])
@pytest.mark.parametrize("index", USED)
def test_every_index_answers_its_query(many: None, conditions: dict[str, str], index: str) -> None:
    query("SET LOCAL enable_seqscan = off")  # to which 20,000 rows come close
    plan = query(f"EXPLAIN SELECT * FROM user_routes WHERE {conditions[index]}")
    assert index in "\n".join(line for (line,) in plan)


def test_autovacuum_comes_earlier_than_by_default() -> None:
    ((options,),) = query("SELECT reloptions FROM pg_class WHERE relname = 'user_routes_all'")
    assert options == ["autovacuum_vacuum_scale_factor=0.05"]
