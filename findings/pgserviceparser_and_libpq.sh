#!/bin/bash
# pgserviceparser 3.0.3 reads pg_service.conf as an INI file of Python's configparser, which libpq's
# parser is not. A service that is there twice (libpq takes the first) makes it reject the whole
# file, other services included; so does a setting that is there twice. A service named DEFAULT gives
# its settings to all others, which libpq knows nothing of. A service with blanks around its equals
# signs is returned as if it were good, while libpq stops with a syntax error.
#
# Guess before: a file that libpq reads is read, with the same result.
# Seen: as printed below, libpq 18 by psycopg's wheel.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pgserviceparser==3.0.3 'psycopg[binary]==3.3.9'
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pgserviceparser
from psycopg import pq

file = Path(sys.argv[1], "pg_service.conf")
os.environ["PGSERVICEFILE"] = str(file)
os.environ.pop("PGUSER", None)


def by_parser(service: str) -> dict | str:
    try:
        return pgserviceparser.service_config(service, file)
    except Exception as error:
        return type(error).__name__


def by_libpq(service: str) -> dict | str:
    """Only what the file can have given: the connection itself goes to a port that is closed."""
    conn = pq.PGconn.connect_start(f"service={service} hostaddr=127.0.0.1 port=1".encode())
    try:
        message = conn.error_message.decode()
        if "service file" in message:
            return message.partition(" in ")[0]
        return {
            option.keyword.decode(): option.val.decode()
            for option in conn.info
            if option.keyword in (b"host", b"application_name") and option.val
        }
    finally:
        conn.finish()


files = {
    "a service twice": "[other]\nhost=other\n[a]\nhost=first\n[a]\nhost=second\n",
    "a setting twice": "[other]\nhost=other\n[a]\nhost=first\nhost=second\n",
    "DEFAULT": "[DEFAULT]\napplication_name=reports\n[a]\nhost=first\n[other]\nhost=other\n",
    "blanks": "[other]\nhost=other\n[a]\nhost = first\n",
}
print("pgserviceparser", version("pgserviceparser"), "libpq", pq.version())
seen = {}
for name, text in files.items():
    file.write_text(text)
    seen[name] = (by_parser("a"), by_parser("other"), by_libpq("a"), by_libpq("other"))
    print(f"{name}: parser {seen[name][0]}, other {seen[name][1]}; libpq {seen[name][2]}")
    assert seen[name][3] == {"host": "other"}, seen[name]
assert seen["a service twice"][:3] == (
    "DuplicateSectionError", "DuplicateSectionError", {"host": "first"},
), seen
assert seen["a setting twice"][:3] == (
    "DuplicateOptionError", "DuplicateOptionError", {"host": "first"},
), seen
assert seen["DEFAULT"][0] == {"host": "first", "application_name": "reports"}, seen
assert seen["DEFAULT"][2] == {"host": "first"}, seen
assert seen["blanks"][0] == {"host": "first"} and seen["blanks"][2] == "syntax error", seen
PYTHON
