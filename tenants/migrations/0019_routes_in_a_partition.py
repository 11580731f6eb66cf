"""user_routes becomes partitioned, so that a first fill attaches what it filled and indexed.

A filled table becomes its one partition as it is; an empty one goes. No row is copied and no index
built. Views keep their grants and go on reading user_routes, and so do those that were granted it.
What can't be kept is refused before anything changes.
"""

from typing import Any

from django.db import migrations

from common.errors import RainboError
from tenants.routes import partition

TABLE, PART = "user_routes", "user_routes_all"
STORED = "autovacuum_vacuum_scale_factor = 0.05"

# Views of others, and materialized ones, can't be replaced: they go on reading what they read.
VIEWS = """
    SELECT DISTINCT v.oid::regclass::text, pg_get_viewdef(v.oid),
           coalesce('WITH (' || array_to_string(v.reloptions, ', ') || ')', '')
      FROM pg_depend JOIN pg_rewrite AS r ON r.oid = objid AND classid = 'pg_rewrite'::regclass
      JOIN pg_class AS v ON v.oid = ev_class
     WHERE refobjid = %s::regclass AND relkind = 'v' AND pg_has_role(v.relowner, 'USAGE')"""
INDEXES = """
    SELECT relname, pg_get_indexdef(indexrelid), indisprimary
      FROM pg_index JOIN pg_class AS i ON i.oid = indexrelid
     WHERE indrelid = %s::regclass AND indisvalid ORDER BY indexrelid"""
GRANTS = """
    SELECT format('GRANT %%s%%s ON %%s TO %%s%%s', privilege_type, columns, %s,
                  coalesce(quote_ident(rolname), 'PUBLIC'),
                  CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
           coalesce(quote_ident(rolname), 'PUBLIC')
      FROM (SELECT '' AS columns, a.* FROM pg_class, aclexplode(relacl) AS a
             WHERE oid = %s::regclass
             UNION ALL
            SELECT format(' (%%I)', attname), a.* FROM pg_attribute, aclexplode(attacl) AS a
             WHERE attrelid = %s::regclass AND NOT attisdropped) AS granted
      LEFT JOIN pg_roles ON pg_roles.oid = grantee"""
OWNER = "SELECT quote_ident(pg_get_userbyid(relowner)) FROM pg_class WHERE oid = %s::regclass"
NEEDED = """
    SELECT 1 FROM pg_depend
     WHERE refclassid = 'pg_class'::regclass AND refobjid = %s::regclass AND deptype = 'n'"""
# What forbids to drop user_routes, apart from the views above.
HELD = """
    SELECT DISTINCT CASE WHEN r.oid IS NULL THEN pg_describe_object(classid, objid, objsubid)
                         ELSE pg_describe_object('pg_class'::regclass, v.oid, 0) END
      FROM pg_depend
      LEFT JOIN pg_rewrite AS r ON r.oid = objid AND classid = 'pg_rewrite'::regclass
      LEFT JOIN pg_class AS v ON v.oid = ev_class
     WHERE refclassid = 'pg_class'::regclass AND refobjid = %s::regclass AND deptype = 'n'
       AND NOT coalesce(v.relkind = 'v' AND pg_has_role(v.relowner, 'USAGE'), false)
     ORDER BY 1"""
CHILDREN = """
    SELECT inhrelid::regclass::text, relname
      FROM pg_inherits JOIN pg_class ON pg_class.oid = inhparent
     WHERE inhparent IN (SELECT indexrelid FROM pg_index WHERE indrelid = %s::regclass)"""


def divide(_: Any, editor: Any) -> None:
    _refuse_publications(editor)
    with editor.connection.cursor() as cursor:
        ask = _asker(cursor)
        views, indexes = ask(VIEWS, TABLE), ask(INDEXES, TABLE)
        grants, [(owner,)] = ask(GRANTS, TABLE, TABLE, TABLE), ask(OWNER, TABLE)
        ask(f"ALTER TABLE {TABLE} RENAME TO {PART}")
        for name, _, _ in indexes:
            ask(f'ALTER INDEX "{name}" RENAME TO "{name}_all"')
        ask(
            f"CREATE TABLE {TABLE} (LIKE {PART} INCLUDING ALL EXCLUDING INDEXES) "
            "PARTITION BY RANGE (source_id)"
        )
        _adopt(ask, views, grants, owner)
        for name, definition, is_primary in indexes:
            key = f'ALTER TABLE {TABLE} ADD CONSTRAINT "{name}" PRIMARY KEY (source_id)'
            ask(key if is_primary else definition)
        needed = ask(NEEDED, PART)
        if needed or ask("SELECT 1 FROM user_routes_all LIMIT 1"):
            _attach(ask)
            ask(f"ANALYZE {TABLE}")  # autovacuum does so with the partition alone
            for role in {role for _, role in grants if not needed} - {owner}:
                ask(f"REVOKE ALL ON {PART} FROM {role} CASCADE")  # they have user_routes
        else:
            ask(f"DROP TABLE {PART}")


def unite(_: Any, editor: Any) -> None:
    _refuse_publications(editor)
    with editor.connection.cursor() as cursor:
        ask = _asker(cursor)
        if held := ask(HELD, TABLE):
            raise RainboError(
                "user_routes is to be one table again, and what others made keeps it from that: "
                f"{', '.join(name for (name,) in held)}. Have their owners drop them, take the "
                "migration back, and have them created again."
            )
        if not ask("SELECT 1 FROM pg_inherits WHERE inhparent = %s::regclass", TABLE):
            ask(f"CREATE TABLE {PART} (LIKE {TABLE} INCLUDING ALL EXCLUDING INDEXES)")
            ask(f"ALTER TABLE {PART} SET ({STORED})")
            _attach(ask)
        views, names = ask(VIEWS, TABLE), ask(CHILDREN, TABLE)
        grants, [(owner,)] = ask(GRANTS, TABLE, TABLE, TABLE), ask(OWNER, TABLE)
        ask(f"ALTER TABLE {TABLE} DETACH PARTITION {PART}")
        ask(f"ALTER TABLE {TABLE} RENAME TO {TABLE}_divided")
        ask(f"ALTER TABLE {PART} RENAME TO {TABLE}")
        _adopt(ask, views, grants, owner)
        ask(f"DROP TABLE {TABLE}_divided")
        for index, name in names:
            ask(f'ALTER INDEX {index} RENAME TO "{name}"')


def _refuse_publications(editor: Any) -> None:
    """Raise RainboError if one would publish other rows than before, or none."""
    editor.connection.ensure_connection()
    statements = [
        f"ALTER PUBLICATION {name} "
        + (f"DROP TABLE {listed}" if listed else "SET (publish_via_partition_root = true)")
        for name, listed, of_root in partition.publications(editor.connection.connection)
        if listed or not of_root
    ]
    if statements:
        raise RainboError(
            "user_routes is replicated to another database, and would not be as it was. Have the "
            f"owner of the publications run: {'; '.join(statements)}. Then migrate; how it is "
            "replicated again is in docs/upgrades.md."
        )


def _asker(cursor: Any) -> Any:
    def ask(statement: str, *given: str) -> list[Any]:
        cursor.execute(statement, given or None)
        return cursor.fetchall() if cursor.description else []

    return ask


def _attach(ask: Any) -> None:
    ask(f"ALTER TABLE {TABLE} ATTACH PARTITION {PART} FOR VALUES FROM (MINVALUE) TO (MAXVALUE)")


def _adopt(ask: Any, views: list[Any], grants: list[Any], owner: str) -> None:
    """Give the new user_routes what the old one had."""
    ask(f"ALTER TABLE {TABLE} OWNER TO {owner}")
    for grant, _ in grants:
        ask(grant)
    for view, definition, options in views:
        ask(f"CREATE OR REPLACE VIEW {view} {options} AS {definition}")


class Migration(migrations.Migration):
    dependencies = [("tenants", "0018_words_of_people_and_orders_of_tenants")]
    operations = [migrations.RunPython(divide, unite)]
