"""Schemas of fleets that nobody here designed: DDL and source files of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tenants.fleet import contract


@dataclass(frozen=True)
class Schema:
    """ddl: run by a superuser in an empty database. files: the texts of RAINBO_SOURCE_SQL."""

    name: str
    ddl: str
    files: Mapping[str, Callable[[], str] | str] = field(default_factory=dict)

    def texts(self) -> dict[str, str]:
        return {
            f"{name}.sql": text if isinstance(text, str) else text()
            for name, text in self.files.items()
        }


def ghosts(**names: str) -> Callable[[], str]:
    """Return the shipped ghost statement for tables and columns of other names."""

    def text() -> str:
        shipped = (contract.SHIPPED / "sync_ghost_users.sql").read_text()
        return re.sub(r"\b(" + "|".join(names) + r")\b", lambda found: names[found[0]], shipped)

    return text


STANDARD_TABLES = """
    CREATE TABLE {0}.tenants (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, status text,
        primary_contact_name text, primary_contact_email text, trial_ends_at timestamptz,
        subscription_started_at timestamptz);
    CREATE TABLE {0}.users (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id bigint,
        email text NOT NULL UNIQUE, name text, password text NOT NULL, status text,
        is_ghost_admin boolean NOT NULL DEFAULT false, rainbo_admin_id text UNIQUE,
        rainbo_installation text, last_login_at timestamptz, updated_at timestamptz);
    CREATE TABLE {0}.locations (id bigint PRIMARY KEY, tenant_id bigint);
    CREATE TABLE {0}.user_email_routing (
        id bigint PRIMARY KEY, email text, tenant_id bigint, rds_instance_id integer,
        user_id bigint, user_name text, status text, updated_at timestamptz);
    INSERT INTO {0}.tenants (name) VALUES ('Acme'), ('Umbrella');
    INSERT INTO {0}.users (tenant_id, email, password) VALUES (1, 'ann@example.com', 'h4sh');
    INSERT INTO {0}.user_email_routing (id, email) VALUES (1, 'ann@example.com');"""

STANDARD = Schema("standard", STANDARD_TABLES.format("public"))

UUIDS = Schema(
    "uuids",
    """
    CREATE SCHEMA extensions;
    GRANT USAGE ON SCHEMA extensions TO PUBLIC;
    CREATE EXTENSION citext SCHEMA extensions;
    CREATE SCHEMA crm;
    CREATE SCHEMA billing;
    CREATE TYPE crm.state AS ENUM ('active', 'trial');
    CREATE TABLE crm.organisations (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title extensions.citext NOT NULL,
        state crm.state NOT NULL DEFAULT 'trial', api_token text);
    CREATE TABLE billing.plans (organisation uuid, plan text, price numeric, internal text);
    CREATE FUNCTION billing.plan_of(uuid) RETURNS text LANGUAGE sql STABLE
        AS 'SELECT plan FROM billing.plans WHERE organisation = $1';
    CREATE FUNCTION billing.plan_of(text, integer) RETURNS text LANGUAGE sql AS 'SELECT $1';
    REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA billing FROM PUBLIC;
    CREATE TABLE crm.people (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), organisation uuid,
        email extensions.citext NOT NULL UNIQUE, name text, passwd text NOT NULL,
        status text CHECK (status IN ('Active', 'Inactive')), remember_token text,
        is_ghost_admin boolean NOT NULL DEFAULT false, rainbo_admin_id text UNIQUE,
        rainbo_installation text, updated_at timestamptz);
    CREATE TABLE public.audit_log (
        id bigserial PRIMARY KEY, person uuid, action text, at timestamptz DEFAULT now());
    CREATE FUNCTION crm.note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF new.status IS NOT NULL THEN
                INSERT INTO public.audit_log (person, action) VALUES (new.id, lower(tg_op));
            END IF;
            RETURN new;
        END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE ON crm.people
        FOR EACH ROW EXECUTE FUNCTION crm.note();
    INSERT INTO crm.organisations (title) VALUES ('Acme');
    INSERT INTO crm.people (organisation, email, passwd, status)
        SELECT id, 'ann@example.com', 'h4sh', 'Active' FROM crm.organisations;
    ALTER DATABASE app SET search_path = '$user', crm, public, extensions;""",
    {
        "sync_tenant_summaries": """
            SELECT o.id, o.title AS name, o.state::text AS status,
                   billing.plan_of(o.id) AS primary_contact_name,
                   NULL::text AS primary_contact_email, NULL::timestamptz AS trial_ends_at,
                   NULL::timestamptz AS subscription_started_at,
                   (SELECT count(*) FROM people WHERE organisation = o.id) AS user_count,
                   NULL::bigint AS location_count, max(p.updated_at) AS last_activity_at
              FROM organisations AS o LEFT JOIN people AS p ON p.organisation = o.id
             GROUP BY o.id ORDER BY name;""",
        "sync_user_routing": """
            WITH directory AS (
                SELECT key, email, organisation, who.name, status, updated_at
                  FROM people AS who (key))
            SELECT key AS id, email, organisation AS tenant_id, NULL::integer AS rds_instance_id,
                   key AS user_id, name AS user_name, status, updated_at FROM directory""",
        "find_user": """
            SELECT id, email, organisation AS tenant_id, name, status,
                   NULL::timestamptz AS last_login_at
              FROM people WHERE is_ghost_admin IS NOT TRUE -- people only""",
        "sync_ghost_users": ghosts(users="people", password="passwd", tenant_id="organisation"),
    },
)

_CAMEL = {
    "users": '"User"',
    "password": '"passwordHash"',
    "tenant_id": '"tenantId"',
    "is_ghost_admin": '"isGhostAdmin"',
    "rainbo_admin_id": '"rainboAdminId"',
    "rainbo_installation": '"rainboInstallation"',
    "updated_at": '"updatedAt"',
}
PRISMA = Schema(
    "prisma",
    """
    CREATE TABLE "Tenant" (
        id text PRIMARY KEY, name text NOT NULL, "isActive" boolean, "createdAt" timestamptz);
    CREATE TABLE "User" (
        id serial PRIMARY KEY, "tenantId" text, email text NOT NULL UNIQUE, name text,
        "passwordHash" text NOT NULL, status text, "isGhostAdmin" boolean NOT NULL DEFAULT false,
        "rainboAdminId" text UNIQUE, "rainboInstallation" text, "lastLogin" timestamptz,
        "updatedAt" timestamptz);
    CREATE TABLE "Session" (id text, "sessionToken" text, "userId" integer);
    INSERT INTO "Tenant" VALUES ('c1', 'Acme', true, now());
    INSERT INTO "User" ("tenantId", email, "passwordHash") VALUES ('c1', 'ann@example.com', 'x');
    """,
    {
        "sync_tenant_summaries": """
            SELECT t.id, t.name, CASE WHEN "isActive" THEN 'active' ELSE 'suspended' END AS status,
                   NULL::text AS primary_contact_name, NULL::text AS primary_contact_email,
                   NULL::timestamptz AS trial_ends_at, t."createdAt" AS subscription_started_at,
                   u.n AS user_count, NULL::bigint AS location_count, u.last AS last_activity_at
              FROM "Tenant" t
              CROSS JOIN LATERAL (SELECT count(*) AS n, max("lastLogin") AS last
                                    FROM "User" WHERE "tenantId" = t.id) u""",
        "sync_user_routing": """
            SELECT "User".id, email, t.id AS tenant_id, NULL::integer AS rds_instance_id,
                   "User".id AS user_id, "User".name AS user_name, status,
                   "updatedAt" AS updated_at
              FROM "User" JOIN "Tenant" t ON t.id = "tenantId" """,
        "find_user": """
            SELECT id, email, "tenantId" AS tenant_id, name, status, "lastLogin" AS last_login_at
              FROM "User" WHERE NOT "isGhostAdmin" """,
        "sync_ghost_users": ghosts(**_CAMEL),
    },
)

_TENANT_SCHEMA = """
    CREATE SCHEMA {0};
    CREATE TABLE {0}.auth_user (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL,
        password text NOT NULL, first_name text, last_login timestamptz, is_active boolean);
    INSERT INTO {0}.auth_user (email, password, is_active)
        VALUES ('ann@{0}.example', 'h4sh', true);"""
_EACH = ("t01", "t02", '"T-3"')


def _union(query: str) -> str:
    return " UNION ALL ".join(query.format(name, name.strip('"')) for name in _EACH)


PER_TENANT = Schema(
    "per_tenant",
    """
    CREATE TABLE public.client (id bigint PRIMARY KEY, schema_name text, name text);
    INSERT INTO public.client VALUES (1, 't01', 'Acme'), (2, 't02', 'Umbrella');
    CREATE TABLE public.auth_user (id bigint, email text, password text);
    CREATE TABLE public.staff (
        id serial PRIMARY KEY, tenant_id bigint, email text NOT NULL UNIQUE, name text,
        password text, status text, is_ghost_admin boolean, rainbo_admin_id text UNIQUE,
        rainbo_installation text, updated_at timestamptz);
    CREATE SCHEMA rainbo_ghosts;"""
    + "".join(map(_TENANT_SCHEMA.format, _EACH))
    + """
    CREATE FUNCTION rainbo_ghosts.sync(ids text[], emails text[], names text[],
                                       installation text, limited text[], may_create boolean)
        RETURNS TABLE (admin_id text, remote_id text, outcome text, why text)
        LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
        BEGIN ATOMIC {ghosts}; END;
    REVOKE EXECUTE ON FUNCTION rainbo_ghosts.sync FROM PUBLIC;""",
    {
        "sync_tenant_summaries": lambda: (
            "SELECT c.id, c.name, 'active' AS status, NULL::text AS primary_contact_name, "
            "NULL::text AS primary_contact_email, NULL::timestamptz AS trial_ends_at, "
            "NULL::timestamptz AS subscription_started_at, n AS user_count, "
            "NULL::bigint AS location_count, last AS last_activity_at FROM client c LEFT JOIN ("
            + _union(
                "SELECT '{1}' AS name, count(*) FILTER (WHERE is_active) AS n, "
                "max(last_login) AS last FROM {0}.auth_user"
            )
            + ") AS people ON people.name = c.schema_name"
        ),
        "sync_user_routing": lambda: (
            "SELECT id, email, tenant_id, NULL::integer AS rds_instance_id, id AS user_id, "
            "NULL::text AS user_name, NULL::text AS status, NULL::timestamptz AS updated_at FROM ("
            + _union("SELECT '{1}:' || id AS id, email, '{1}' AS tenant_id FROM {0}.auth_user")
            + ") AS everybody"
        ),
        "find_user": lambda: _union(
            "SELECT '{1}:' || id AS id, email, '{1}' AS tenant_id, first_name AS name, "
            "NULL::text AS status, last_login AS last_login_at FROM {0}.auth_user"
        ),
        "sync_ghost_users": """
            SELECT admin_id, remote_id, outcome, why FROM rainbo_ghosts.sync(
                %(ids)s::text[], %(emails)s::text[], %(names)s::text[], %(installation)s::text,
                %(only)s::text[], %(create)s::boolean)""",
    },
)

ACCOUNTS = Schema(
    "accounts",
    """
    CREATE TABLE accounts (
        id serial PRIMARY KEY, tenant_id bigint, email varchar(255) NOT NULL DEFAULT '' UNIQUE,
        encrypted_password varchar NOT NULL DEFAULT '', reset_password_token varchar,
        full_name varchar, status varchar, is_ghost_admin boolean, rainbo_admin_id text UNIQUE,
        rainbo_installation text, current_sign_in_at timestamptz, updated_at timestamptz NOT NULL);
    CREATE TABLE companies (id bigserial PRIMARY KEY, name varchar);
    CREATE VIEW sign_ins WITH (security_invoker = true) AS
        SELECT tenant_id, max(current_sign_in_at) AS last FROM accounts GROUP BY tenant_id;
    INSERT INTO companies (name) VALUES ('Acme');
    INSERT INTO accounts (tenant_id, email, updated_at) VALUES (1, 'ann@example.com', now());""",
    {
        "sync_tenant_summaries": """
            SELECT companies.id, name, 'active' AS status, NULL::text AS primary_contact_name,
                   NULL::text AS primary_contact_email, NULL::timestamptz AS trial_ends_at,
                   NULL::timestamptz AS subscription_started_at, NULL::bigint AS user_count,
                   NULL::bigint AS location_count, last AS last_activity_at
              FROM companies LEFT JOIN sign_ins ON tenant_id = companies.id""",
        "sync_user_routing": """
            SELECT id, email, tenant_id, NULL::integer AS rds_instance_id, id AS user_id,
                   full_name AS user_name, status, updated_at FROM accounts""",
        "find_user": """
            SELECT id, email, tenant_id, full_name AS name, status,
                   current_sign_in_at AS last_login_at FROM accounts""",
        "sync_ghost_users": ghosts(
            users="accounts", password="encrypted_password", name="full_name"
        ),
    },
)

VIEWS = Schema(
    "views",
    "CREATE SCHEMA app; CREATE SCHEMA rainbo_views;"
    + STANDARD_TABLES.format("app")
    + """
    CREATE VIEW rainbo_views.tenants AS SELECT * FROM app.tenants;
    CREATE VIEW rainbo_views.users AS SELECT * FROM app.users;
    CREATE VIEW rainbo_views.locations AS SELECT * FROM app.locations;
    CREATE VIEW rainbo_views.user_email_routing AS SELECT * FROM app.user_email_routing;
    ALTER ROLE rainbo SET search_path = rainbo_views;""",
)


def _ghosts_of_staff() -> str:
    text = ghosts(users="staff")().replace("%%", "%").rstrip().removesuffix(";")
    named = re.sub(r"%\((\w+)\)s::[a-z]+(?:\[\])?", lambda found: f"sync.{found[1]}", text)
    return (
        f"{named.replace('sync.create', 'sync.may_create').replace('sync.only', 'sync.limited')};"
    )


def ddl(schema: Schema) -> str:
    return schema.ddl.replace("{ghosts}", _ghosts_of_staff())


ALL = (STANDARD, UUIDS, PRISMA, PER_TENANT, ACCOUNTS, VIEWS)
