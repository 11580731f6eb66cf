#!/bin/bash
# prometheus-client 0.26.0 chooses the format of an answer by the order of `Accept` and ignores
# quality values: OpenMetrics is chosen though its q is lower than that of text/plain, and even with
# q=0, which RFC 9110 (12.4.2) calls "not acceptable". A quoted version, as RFC 9110 (5.6.6) allows
# for every parameter, raises TypeError.
#
# Guess before: the type with the highest q; "1.0.0" in quotes means 1.0.0.
# Seen: as printed below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prometheus-client==0.26.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from prometheus_client.exposition import choose_encoder

OPEN = "application/openmetrics-text"


def chosen(accept: str) -> str:
    try:
        return choose_encoder(accept)[1].partition(";")[0]
    except TypeError as error:
        return f"TypeError: {error}"


seen = {
    accept: chosen(accept)
    for accept in (
        f"text/plain;q=0.9, {OPEN};version=1.0.0;q=0.1",
        f"text/plain, {OPEN};version=1.0.0;q=0",
        f'{OPEN};version="1.0.0"',
        f"{OPEN};version=1.0.0",
    )
}
print("prometheus-client", version("prometheus-client"))
for accept, answer in seen.items():
    print(f"{accept!r} -> {answer}")
first, second, quoted, plain = seen.values()
assert (first, second, plain) == (OPEN, OPEN, OPEN), seen
assert quoted.startswith("TypeError"), seen
PYTHON
