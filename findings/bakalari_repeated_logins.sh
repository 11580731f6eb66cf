#!/bin/bash
# bakalari 1.0.0 sends a password that the school has rejected once more with each call: when the
# refresh token is void, `request` falls back to a login and remembers nothing of its failure. Its
# own documentation says that schools count failed logins and show them to the account's owner. Any
# answer with status 400 to a refresh has that effect, also the HTML page of a proxy.
#
# Expected from its documentation: one login after the refresh token was rejected; then an error
# until `login` is called by hand.
# Seen: as printed below. A client that is made with a refresh token alone sends no password.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check bakalari==1.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version
from urllib.parse import parse_qs

from bakalari import BakalariAuthError, BakalariClient, HttpResponse

PAIR = {"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 3599,
        "token_type": "Bearer"}
INVALID = json.dumps({"error": "invalid_grant"}).encode()


class School:
    """Accepts one login; then the password was changed, and all tokens are void."""

    def __init__(self, rejection: bytes) -> None:
        self.rejection, self.passwords, self.refreshes = rejection, 0, 0

    def __call__(self, method, url, headers, body, timeout) -> HttpResponse:
        if not url.endswith("/api/login"):
            return HttpResponse(401, {}, b'{"Message": "denied"}')
        form = parse_qs((body or b"").decode())
        if form["grant_type"] == ["refresh_token"]:
            self.refreshes += 1
            return HttpResponse(400, {}, self.rejection)
        self.passwords += 1
        if self.passwords == 1:
            return HttpResponse(200, {}, json.dumps(PAIR).encode())
        return HttpResponse(400, {}, INVALID)


def count(rejection: bytes, calls: int) -> int:
    """How often the password is sent after the login that was accepted."""
    school = School(rejection)
    client = BakalariClient("https://school.example", "pupil", "secret-1", transport=school)
    client.login()
    for _ in range(calls):
        try:
            client.marks()
        except BakalariAuthError:
            continue
        raise AssertionError("it was accepted")
    return school.passwords - 1


seen = {calls: count(INVALID, calls) for calls in (1, 3, 10)}
page = count(b"<html>Request Header Too Long</html>", 3)
print("bakalari", version("bakalari"))
for calls, logins in seen.items():
    print(f"{calls} calls after the password was changed: {logins} failed logins")
print(f"3 calls, an HTML page with status 400 as answer to the refresh: {page} failed logins")
assert seen == {1: 1, 3: 3, 10: 10}, seen
assert page == 3, page

school = School(INVALID)
client = BakalariClient("https://school.example", refresh_token="refresh-1", transport=school)
for _ in range(3):
    try:
        client.marks()
    except BakalariAuthError:
        pass
print(f"3 calls with a refresh token alone: {school.passwords} logins")
assert (school.passwords, school.refreshes) == (0, 3), vars(school)
PYTHON
