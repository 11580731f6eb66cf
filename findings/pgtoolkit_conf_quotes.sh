#!/bin/bash
# pgtoolkit 0.33.0 does not read all that ALTER SYSTEM may write into postgresql.auto.conf: a name with a capital letter, such as "TimeZone" (names have no case for
# PostgreSQL), and a quoted value with a "#" in it, such as a log_line_prefix, raise ValueError. And
# quoted text becomes another type: cluster_name = 'on' is True, application_name = '1h' an hour.
#
# Guess before: the file is read, and a quoted value is text.
# Seen: as printed below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pgtoolkit==0.33.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import io
from importlib.metadata import version

from pgtoolkit import conf


def read(line: str) -> object:
    try:
        (value,) = conf.parse(io.StringIO(line + "\n")).as_dict().values()
        return value
    except ValueError:
        return "ValueError"


lines = (
    "TimeZone = 'UTC'",
    "timezone = 'UTC'",
    "log_line_prefix = '%m [%p] # '",
    "log_line_prefix = '%m [%p] '",
    "cluster_name = 'on'",
    "application_name = '1h'",
    "cluster_name = '5'",
)
print("pgtoolkit", version("pgtoolkit"))
seen = [read(line) for line in lines]
for line, value in zip(lines, seen):
    print(f"{line}  ->  {value!r}")
wrong_name, name, hash_sign, prefix, on, hour, five = seen
assert (wrong_name, name) == ("ValueError", "UTC"), seen
assert (hash_sign, prefix) == ("ValueError", "%m [%p] "), seen
assert on is True and hour.total_seconds() == 3600 and five == "5", seen
PYTHON
