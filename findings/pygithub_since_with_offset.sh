#!/bin/bash
# PyGithub 2.10.0 leaves out the offset of a time: since=03:04:05+02:00 goes out as 03:04:05Z, which
# is two hours later, so that what changed in these two hours is never listed. No error, no warning;
# issues, commits, comments and notifications alike. githubkit 0.16.1 keeps the offset.
#
# Guess before: a time with an offset is converted to UTC, or a ValueError.
# Seen: as printed below, against a server on this machine that lists nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    PyGithub==2.10.0 githubkit==0.16.1 'hishel<2'
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from threading import Thread
from urllib.parse import parse_qs, urlsplit

from github import Auth, Github
from githubkit import GitHub

asked = {}


class Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        where = urlsplit(self.path)
        body = b"[]"
        if where.path == "/repos/o/r":
            body = json.dumps({"id": 1, "url": f"{address}/repos/o/r"}).encode()
        else:
            asked[where.path.rpartition("/")[2]] = parse_qs(where.query)["since"][0]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Nothing)
address = f"http://127.0.0.1:{server.server_port}"
Thread(target=server.serve_forever, daemon=True).start()
at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))

client = Github(base_url=address, auth=Auth.Token("none"))
repository = client.get_repo("o/r")
list(repository.get_issues(since=at))
list(repository.get_commits(since=at))
list(repository.get_issues_comments(since=at))
list(client.get_user().get_notifications(since=at))
by_pygithub = dict(asked)
asked.clear()
other = GitHub("none", base_url=address + "/")
other.rest.issues.list_for_repo("o", "r", since=at)

print("wanted", at.isoformat())
print("PyGithub", version("PyGithub"), by_pygithub)
print("githubkit", version("githubkit"), asked)
assert by_pygithub == dict.fromkeys(
    ("issues", "commits", "comments", "notifications"), "2026-01-02T03:04:05Z"
), by_pygithub
assert asked == {"issues": "2026-01-02 03:04:05+02:00"}, asked
PYTHON
