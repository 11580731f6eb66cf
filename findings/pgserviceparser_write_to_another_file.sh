#!/bin/bash
# pgserviceparser 3.0.3: write_service(..., conf_file_path=other) reads the user's default service
# file and writes that into the other one. What stood in the other file is gone, and the services of
# the default file, with their passwords, are in it. write_service_setting, which takes the same
# parameter, reads and writes the file that it is given.
#
# Guess before: the service is changed in the file that conf_file_path names, as its docstring says.
# Seen: as printed below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pgserviceparser==3.0.3
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import sys
from importlib.metadata import version
from pathlib import Path

usual, other = Path(sys.argv[1], "usual.conf"), Path(sys.argv[1], "other.conf")
os.environ["PGSERVICEFILE"] = str(usual)

import pgserviceparser

usual.write_text("[private]\nhost=db.example\npassword=of-the-usual-file\n")


def services_after(write) -> dict:
    other.write_text("[reports]\nhost=old.example\n\n[billing]\nhost=billing.example\n")
    write()
    config = pgserviceparser.full_config(other)
    return {name: dict(config[name]) for name in config.sections()}


whole = services_after(
    lambda: pgserviceparser.write_service(
        "reports", {"host": "new.example"}, conf_file_path=other, create_if_not_found=True
    )
)
one = services_after(
    lambda: pgserviceparser.write_service_setting(
        "reports", "host", "new.example", conf_file_path=other
    )
)
print("pgserviceparser", version("pgserviceparser"))
print("write_service        ", whole)
print("write_service_setting", one)
assert whole == {
    "private": {"host": "db.example", "password": "of-the-usual-file"},
    "reports": {"host": "new.example"},
}, whole
assert one == {"reports": {"host": "new.example"}, "billing": {"host": "billing.example"}}, one
PYTHON
