"""Made-up secrets in the shapes in which they turn up in text: of what no log line keeps any."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cryptography.fernet import Fernet
from hypothesis import strategies as st

NAMES = (
    *("password", "new_password", "passwd", "Passphrase", "secret", "client_secret"),
    *("clientSecret", "access_token", "accessToken", "refresh_token", "id-token", "api_token"),
    *("token", "X-Api-Key", "api_key", "apiKey", "apikey", "authorization", "cookie"),
    *("Set-Cookie", "private_key", "privateKey", "aws_secret_access_key", "sessionid"),
    *("session_id", "JSESSIONID", "csrftoken", "PGPASSWORD", "RAINBO_CREDENTIAL_KEYS"),
)
HEADERS = ("Authorization", "Proxy-Authorization", "X-Api-Key", "Cookie", "Set-Cookie")
PLAIN = "ABCDEFGHJKMNPQRSTVWXYZ0123456789"  # in capitals: texts around it are in small letters
AROUND = st.sampled_from(["", "a line of ordinary words ", "run 7: ", "host=db1 port=5432 ", "é\n"])


@dataclass(frozen=True)
class Shaped:
    """A text with a secret in it, and the pieces of the secret."""

    text: str
    pieces: tuple[str, ...]

    def is_in(self, text: str) -> bool:
        return any(piece in text for piece in self.pieces)


def secrets(between: str) -> st.SearchStrategy[tuple[str, tuple[str, ...]]]:
    """Secrets of up to three pieces with such characters between them."""
    piece = st.text(PLAIN, min_size=16, max_size=20).map(lambda text: f"Q{text}Z")
    pieces = st.lists(piece, min_size=1, max_size=3)
    return st.tuples(pieces, st.sampled_from(between)).map(
        lambda drawn: (drawn[1].join(drawn[0]), tuple(drawn[0]))
    )


def shaped(between: str, write: Callable[..., str], *of: Any) -> st.SearchStrategy[Shaped]:
    """write: makes the text of a secret and one of each of what follows."""
    chosen = st.tuples(*(st.sampled_from(one) for one in of))
    return st.tuples(secrets(between), chosen, AROUND, AROUND).map(
        lambda drawn: Shaped(f"{drawn[2]}{write(drawn[0][0], *drawn[1])} {drawn[3]}", drawn[0][1])
    )


def jwt(secret: str) -> str:
    def part(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part({'sub': 'ann'})}.{secret}"


def pem(secret: str, kind: str) -> str:
    lines = "\n".join([secret] * 3)
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


ANY = " \"'\\,;&=/:+%#@!?()[]{}<>"
NO_BLANK = "\\,;&=/:+%#@!?()[]{}<>"
WORDY = "-_"
SHAPES = st.one_of(
    # name=value, as libpq, a shell, a log and a person write it
    shaped(NO_BLANK, lambda s, n, by: f"{n}{by}{s}", NAMES, ("=", " = ", ": ", ":", "=>")),
    shaped(NO_BLANK, lambda s, n: f"https://example.com/x[{n}]={s}", NAMES),
    shaped(ANY, lambda s, n: f"{n}={s!r}", NAMES),
    shaped(ANY, lambda s, n: f"{n}={json.dumps(s)}", NAMES),
    shaped(NO_BLANK, lambda s, n: f"tool --{n} {s}", ("password", "api-key", "token")),
    shaped(WORDY, lambda s: f"alter role x password '{s}'"),
    shaped(WORDY, lambda s: f"the api key: {s}"),
    # JSON, once and twice; what was cut off inside
    shaped(ANY, lambda s, n: json.dumps({"a": 1, n: s, "b": [2]}), NAMES),
    shaped(ANY, lambda s, n: json.dumps({"a": [{n: [s, {"x": s}]}]}, indent=1), NAMES),
    shaped(ANY, lambda s, n: json.dumps({"body": json.dumps({n: s, "b": "c"})}), NAMES),
    shaped(WORDY, lambda s, n: json.dumps({n: s}).rstrip('"}'), NAMES),
    # Python's repr
    shaped(ANY, lambda s, n: repr({"a": 1, n: s}), NAMES),
    shaped(ANY, lambda s, n: repr([("host", "db1"), (n, s)]), NAMES),
    shaped(ANY, lambda s, n: repr([(n.encode(), s.encode())]), NAMES),
    shaped(ANY, lambda s, n: repr({n: {"one": s, "two": (s, s)}, "a": 2}), NAMES),
    shaped(ANY, lambda s, n: f"Client(host='db1', {n}={s!r}, port=1)", NAMES),
    # queries and headers
    shaped(ANY, lambda s, n: f"GET /x?{n}={quote(s, safe='')}&page=2", NAMES),
    shaped(WORDY, lambda s, n: f"?next=%2Fx%3F{n}%3D{s}", NAMES),
    shaped(WORDY, lambda s, n: f"https://example.com/x?a=1&{n}={s}", ("key", "sig", "code")),
    shaped(" ;,=", lambda s, n: f"{n}: {s}\r\n", HEADERS),
    shaped(" ;,=", lambda s, n: f"curl -H '{n}: {s}' https://example.com", HEADERS),
    shaped("-._~+/", lambda s, by: f"sent {by}{s}", ("Bearer ", "bearer ", "Bearer%20")),
    shaped(WORDY, lambda s: f'Authorization: Digest username="ann", response="{s}"\n'),
    shaped("+/", lambda s: f"sent Basic {s}=="),
    shaped(WORDY, lambda s, n: f"Cookie: a=b; {n}={s}; c=d\n", ("sessionid", "session", "sid")),
    # addresses
    shaped(":/?#&=%", lambda s: f"postgres://rainbo:{s}@db1:5432/x"),
    shaped("/", lambda s: f"https://hooks.slack.com/services/T0/B0/{s}"),
    shaped("/", lambda s: f'hooks.slack.com:443 "POST /services/T0/B0/{s} HTTP/1.1" 200'),
    shaped(WORDY, lambda s, v: f"https://discord.com/api{v}/webhooks/12/{s}", ("", "/v10")),
    shaped(
        WORDY,
        lambda s, path: f"https://example.com/{path}/QQQQQ{s}",
        ("webhook", "webhooks", "webhookb2", "webhooks/incoming", "hooks"),
    ),
    # what is a secret by its looks
    shaped(WORDY, lambda s: f"got {jwt(s)}"),
    shaped(WORDY, pem, ("", "RSA ", "EC ", "ENCRYPTED ")),
)
CIPHERTEXTS = st.binary(min_size=1, max_size=16).map(
    lambda content: Fernet(Fernet.generate_key()).encrypt(content).decode()
)
