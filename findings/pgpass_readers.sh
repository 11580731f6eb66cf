#!/bin/bash
# Three readers of libpq's password file disagree with libpq where PostgreSQL's documentation
# (libpq, "The Password File") asks for a backslash before a colon or backslash in a field, and with
# a password that ends with a blank:
# - asyncpg 0.32.0 leaves the backslashes in the password, which the server then rejects, and does
#   not find a host with an escaped colon, such as an IPv6 address.
# - pgpasslib 1.1.0 rejects the file for an escape in a password.
# - pgtoolkit 0.33.0 rejects the file for an escape in a host, also for other hosts' lines.
# - asyncpg and pgtoolkit take the blank off.
#
# Guess before: all four find the same passwords.
# Seen: as printed below, libpq 18 by psycopg's wheel.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    asyncpg==0.32.0 pgpasslib==1.1.0 pgtoolkit==0.33.0 'psycopg[binary]==3.3.9'
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import io
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pgpasslib
from asyncpg import connect_utils
from pgtoolkit import pgpass
from psycopg import pq

file = Path(sys.argv[1], "pgpass")
os.environ["PGPASSFILE"] = str(file)


def by_libpq(host: str) -> str | None:
    asked = f"host={host} hostaddr=127.0.0.1 port=1 dbname=app user=ann passfile={file}"
    conn = pq.PGconn.connect_start(asked.encode())
    try:
        return conn.password.decode() or None
    finally:
        conn.finish()


def by_asyncpg(host: str) -> str | None:
    return connect_utils._read_password_from_pgpass(
        passfile=file, hosts=[host], ports=[1], database="app", user="ann"
    )


def by_pgpasslib(host: str) -> str | None:
    try:
        return pgpasslib.getpass(host, 1, "app", "ann")
    except pgpasslib.PgPassException as error:
        return type(error).__name__


def by_pgtoolkit(host: str) -> str | None:
    try:
        for entry in pgpass.parse(io.StringIO(file.read_text())):
            if entry.matches(hostname=host, port=1, database="app", username="ann"):
                return entry.password
    except Exception as error:
        return type(error).__name__


READERS = (by_libpq, by_asyncpg, by_pgpasslib, by_pgtoolkit)
lines = {
    "plain": ("db", "db:1:app:ann:secret\n"),
    "escapes in the password": ("db", "db:1:app:ann:a\\:b\\\\c\n"),
    "a blank at its end": ("db", "db:1:app:ann:secret \n"),
    "an escaped colon in the host": ("fe80::1", "fe80\\:\\:1:1:app:ann:secret\n"),
    "a line for db after such a host": ("db", "fe80\\:\\:1:1:app:ann:x\ndb:1:app:ann:secret\n"),
}
print(*(f"{name} {version(name)}" for name in ("asyncpg", "pgpasslib", "pgtoolkit", "psycopg")))
seen = {}
for name, (host, text) in lines.items():
    file.write_text(text)
    file.chmod(0o600)
    seen[name] = [reader(host) for reader in READERS]
    print(f"{name}: libpq, asyncpg, pgpasslib, pgtoolkit: {seen[name]}")
assert seen == {
    "plain": ["secret"] * 4,
    "escapes in the password": ["a:b\\c", "a\\:b\\\\c", "InvalidEntry", "a:b\\c"],
    "a blank at its end": ["secret ", "secret", "secret ", "secret"],
    "an escaped colon in the host": ["secret", None, "secret", "ParseError"],
    "a line for db after such a host": ["secret", "secret", "secret", "ParseError"],
}, seen
PYTHON
