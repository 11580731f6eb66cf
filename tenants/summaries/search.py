"""Tenants by the words of their name and contact e-mail, or by their id there."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from tenants.models import RdsInstance

LONGEST = 1_000  # characters of a search: no name is longer

# Word for word what the index tenants_by_word holds.
WORDS = """
    array_to_tsvector(rainbo_name_words(tenant_master.name) ||
                      rainbo_name_words(coalesce(tenant_master.contact_email, '')))"""
BY_WORD = f"({WORDS} @@ rainbo_word_query(%s))"
# From one status to the next by the index tenants_by_status, whatever the number of tenants.
_STATUSES = """
    WITH RECURSIVE found AS (
         (SELECT status FROM tenant_master ORDER BY status LIMIT 1)
         UNION ALL
         SELECT (SELECT next.status FROM tenant_master AS next
                  WHERE next.status > found.status ORDER BY next.status LIMIT 1)
           FROM found WHERE found.status IS NOT NULL)
    SELECT status FROM found WHERE status IS NOT NULL LIMIT %s"""


def matching(term: str) -> Q:
    """Each word of the term begins a word of the name or the e-mail, or the term is the id."""
    term = term.strip().replace("\0", "")[:LONGEST]
    words: Any = RawSQL(BY_WORD, (term,), output_field=BooleanField())  # noqa: S611 (constant)
    # Named, so that the index of ids, which begins with the instance, serves it.
    instances = list(RdsInstance.objects.values_list("pk", flat=True))
    return Q(words) | Q(instance_id__in=instances, remote_id=term)


def statuses(most: int = 20) -> list[str]:
    """The statuses that tenants have: another fleet may have others."""
    with connection.cursor() as cursor:
        cursor.execute(_STATUSES, [most])
        return [status for (status,) in cursor.fetchall()]
