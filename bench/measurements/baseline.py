"""Baseline A: all rows by `psql | psql`, binary, into an unlogged table without indexes."""

from __future__ import annotations

import os
import subprocess
import time

from bench.errors import BenchError
from bench.testbed.directory import DATABASE, OUT
from bench.testbed.instances import PASSWORD
from bench.testbed.servers import Testbed
from localfleet.data import schema
from localfleet.demo.state import OWN_DATABASE
from localfleet.servers.server import HOST

IN = "COPY bench_a FROM STDIN (FORMAT binary)"
TABLE = """
    DROP TABLE IF EXISTS bench_a;
    CREATE UNLOGGED TABLE bench_a (
        id bigint, email text, tenant_id bigint, rds_instance_id integer, user_id bigint,
        user_name text, status text, updated_at timestamptz)"""


def copied(testbed: Testbed) -> float:
    """The seconds of one copy."""
    with testbed.own_session(user=OWN_DATABASE, password=testbed.own_password) as own:
        own.execute(TABLE.encode())
    psql = [str(testbed.psql()), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-c"]
    source = _environment(schema.ROLE, PASSWORD, DATABASE, testbed.master.port)
    target = _environment(OWN_DATABASE, testbed.own_password, OWN_DATABASE, testbed.own.port)
    started = time.monotonic()
    with (
        subprocess.Popen([*psql, OUT], env=source, stdout=subprocess.PIPE) as sender,
        subprocess.Popen([*psql, IN], env=target, stdin=sender.stdout) as receiver,
    ):
        if sender.stdout:
            sender.stdout.close()
        codes = receiver.wait(), sender.wait()
    seconds = time.monotonic() - started
    if any(codes):
        raise BenchError(f"psql | psql ended with {codes}")
    return seconds


def _environment(user: str, password: str, database: str, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    named = {"PGUSER": user, "PGPASSWORD": password, "PGDATABASE": database, "PGPORT": str(port)}
    return kept | named
