"""The databases of the demo's servers, made once and found again."""

from __future__ import annotations

from localfleet.data import schema
from localfleet.data.schema import DATABASE, SQL_FOLDER
from localfleet.demo.state import OWN_DATABASE
from localfleet.folders import CHECKOUT
from localfleet.servers import databases
from localfleet.servers.server import Server

APPLICATION = "application"  # the role of the demo's SaaS
SUPPORT_TABLE = CHECKOUT / "deploy" / "support_access" / "support_sessions.sql"


def prepare_own(server: Server, password: str) -> None:
    """RAINBO's own database and its owner, which has no other rights on the server."""
    databases.set_role(server, OWN_DATABASE, password)
    if not databases.enterable(server, OWN_DATABASE):
        databases.create(server, OWN_DATABASE, owner=OWN_DATABASE)


def prepare(server: Server, role_password: str, *, master: bool) -> None:
    """An instance with the standard schema; one whose making was interrupted is made again."""
    if _has_schema(server):
        databases.set_role(server, schema.ROLE, role_password)
        return
    databases.drop(server, DATABASE)
    schema.create_instance(server, master=master, role_password=role_password)


def serve_application(server: Server, password: str) -> None:
    """Let the demo's application use an instance, with a table of support sessions."""
    databases.set_role(server, APPLICATION, password)
    schema.allow_entry(server, DATABASE, APPLICATION)
    with server.connect(DATABASE) as connection:
        for file in (SUPPORT_TABLE, SQL_FOLDER / "application.sql"):
            connection.execute(file.read_bytes())


def _has_schema(server: Server) -> bool:
    if not databases.enterable(server, DATABASE):
        return False
    with server.connect(DATABASE) as connection:
        row = connection.execute("SELECT to_regclass('tenants') IS NOT NULL").fetchone()
    return row == (True,)
