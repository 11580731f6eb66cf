"""The record of what people did can only be added to."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.commands import flush
from django.db import DatabaseError, connection, transaction

from activity.log import record_by
from activity.models import Activity
from tests import emptying
from tests.activity.rows import entry

STATEMENTS = (
    "UPDATE activity SET actor = 'somebody else'",
    "DELETE FROM activity",
    "DELETE FROM activity WHERE false",
    "TRUNCATE activity",
    "TRUNCATE auth_user, activity CASCADE",
    "INSERT INTO activity SELECT * FROM activity ON CONFLICT (id) DO UPDATE SET actor = 'x'",
)


def one_entry() -> Activity:
    record_by("ann", 1, "10.0.0.7", "instance.disabled", "rds1")
    return Activity.objects.get()


@pytest.mark.django_db
@pytest.mark.parametrize("statement", STATEMENTS)
def test_nobody_changes_it(statement: str) -> None:
    entry = one_entry()
    expected = "the record of what people did is never changed"
    with pytest.raises(DatabaseError, match=expected), transaction.atomic():
        connection.cursor().execute(statement)
    assert Activity.objects.get() == entry


@pytest.mark.django_db
def test_neither_does_the_code() -> None:
    entry = one_entry()
    entry.actor = "somebody else"
    for change in (entry.save, entry.delete, Activity.objects.all().delete):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
            change()


@pytest.mark.django_db
def test_replication_is_no_way_around() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgenabled FROM pg_trigger WHERE tgname = 'written_once'")
        assert cursor.fetchall() == [("A",)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_tests_begin_with_an_empty_record(turn: int) -> None:
    assert not Activity.objects.exists()
    one_entry()


@pytest.mark.django_db(transaction=True)
def test_a_flush_outside_of_tests_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flush.Command, "handle", inspect.unwrap(flush.Command.handle))
    monkeypatch.setattr(emptying, "LIFT", "SELECT 1")
    monkeypatch.setattr(emptying, "RESTORE", "SELECT 1")
    one_entry()
    with pytest.raises(Exception, match="couldn't be flushed"):
        call_command("flush", interactive=False)
    assert Activity.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_old_entries_are_removed_as_the_docs_say() -> None:
    docs = (Path(__file__).parents[2] / "docs/activity.md").read_text(encoding="utf-8")
    _, new = entry(days_ago=800), entry()
    with connection.cursor() as cursor:
        cursor.execute(docs.partition("```sql\n")[2].partition("```")[0])
    assert [*Activity.objects.all()] == [new]
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        new.delete()
