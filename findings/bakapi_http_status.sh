#!/bin/bash
# bakapi 0.3.1 looks at no HTTP status: the JSON body of an answer 503, 404 or 429 is returned as if
# it were homework, as long as it has no key "error". Who reads answer["Homeworks"] with a default
# sees a pupil without homework while the school's server is down. A login that is answered 429 ends
# in a KeyError about "access_token".
#
# Guess before: BakaAPIException for a status that is no success.
# Seen: as printed below, against a server on this machine.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    bakapi==0.3.1 requests==2.32.5
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from threading import Thread

from bakapi import BakapiUser

BUSY = {"message": "The service is being maintained."}


class School(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.answer(self.status, BUSY if self.status != 200 else {"Homeworks": []})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(429, BUSY)

    def answer(self, status: int, data: dict) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), School)
Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/"
later = datetime.now(UTC) + timedelta(hours=1)
user = BakapiUser(
    url=address,
    username="ann",
    access_token="access",
    refresh_token="refresh",
    token_valid_until=later,
)
seen = {}
for School.status in (200, 503, 404, 429):
    seen[School.status] = user.get_homework()
    print(School.status, "->", seen[School.status])
try:
    BakapiUser(url=address, username="ann", password="of an example")
    login = "no error"
except Exception as error:
    login = f"{type(error).__name__}: {error}"
print("bakapi", version("bakapi"), "login answered 429:", login)
assert seen == {200: {"Homeworks": []}, 503: BUSY, 404: BUSY, 429: BUSY}, seen
assert login == "KeyError: 'access_token'", login
PYTHON
