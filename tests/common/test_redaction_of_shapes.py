"""No shape of a secret passes, no other text changes, and no text takes long."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import parsing
from common import redaction
from common.redaction import is_secret, redact, redact_value
from tests.secret_shapes import ANY, CIPHERTEXTS, NAMES, SHAPES, Shaped, secrets

many = settings(max_examples=200, deadline=None)


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Python before 3.11.5 matches wrongly then (its issue 106052): Debian 12 has 3.11.2."""
    possessive = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+|\(\?>")
    for module in (redaction, parsing):
        for name, pattern in vars(module).items():
            if isinstance(pattern, re.Pattern):
                text = pattern.pattern
                text = text if isinstance(text, str) else text.decode()
                assert not possessive.search(text.replace("\\)", "")), name


@many
@given(SHAPES)
def test_no_shape_passes(shape: Shaped) -> None:
    clean = redact(shape.text)
    assert not shape.is_in(clean)
    assert "***" in clean
    assert redact(clean) == clean


@given(CIPHERTEXTS)
def test_no_ciphertext_passes(sealed: str) -> None:
    clean = redact(f"stored {sealed} for rds1")
    assert sealed not in clean
    # One that happens to end in a secret's name takes the next word with it.
    assert clean in ("stored *** for rds1", "stored *** *** rds1")


@many
@given(secrets(ANY), st.sampled_from(NAMES), SHAPES)
def test_no_field_passes(secret: tuple[str, tuple[str, ...]], name: str, shape: Shaped) -> None:
    value = {
        "in": [{name: secret[0], "b": 1}, ({name: [secret[0]]},)],
        "said": {shape.text},
        shape.text: 1,
        "error": ValueError(shape.text),
        "bytes": shape.text.encode(),
    }
    clean = json.dumps(redact_value("x", value))
    assert not any(piece in clean for piece in secret[1])
    assert not shape.is_in(clean)


@pytest.mark.parametrize(
    "text",
    [
        'password authentication failed for user "rainbo"',
        "run 7 took the lease with token 12 (token=12)",
        "fencing token: 12, lease_token=3",
        '{"token": 12, "session_id": 4, "input_tokens": 1,200}',
        "tokens: 5 used",
        "password changed",
        "the bearer token is missing; Bearer authentication is needed",
        'WWW-Authenticate: Bearer realm="api"',
        "basic authentication is off",
        "add_instance --user rainbo --password-file /run/secrets/eu-1 --master",
        "RAINBO_SECRET_KEY_FILE=/run/secrets/key",
        "token_type=Bearer expires_in=3600",
        "Key (id)=(7) already exists; primary_key: 7",
        "https://rainbo.example:8443/admin/syncs/run/7/?page=2&q=webhook",
        "POST /webhooks/slack/ 404",
        "session=<psycopg.Connection [INTRANS] (host=db1)>",
        "ann@example.com asked, https://example.com answered",
        "compass: north; the secretary said no",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET /x?token=abc&page=2 200", "GET /x?token=***&page=2 200"),
        ("Bearer abc.def, run 7", "Bearer ***, run 7"),
        (
            "Not Found: /admin/pricing/sync/k3y/status/7",
            "Not Found: /admin/pricing/sync/***/status/7",
        ),
        ("/Admin//pricing/sync/k3y?x=1", "/Admin//pricing/sync/***?x=1"),
        (
            "https://hooks.slack.com/services/T0/B0/x failed",
            "https://hooks.slack.com/services/*** failed",
        ),
        (
            "https://discord.com/api/webhooks/12/ab?wait=1",
            "https://discord.com/api/webhooks/***?wait=1",
        ),
        ("{'token': 'abc', 'run': 7}", "{'token': ***, 'run': 7}"),
        ("tokens=['a', 'b'], run=7", "tokens=***, run=7"),
    ],
)
def test_what_surrounds_a_secret_stays(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        *((name, "x", True) for name in NAMES),
        ("token", 12, False),
        ("fencingToken", 12, False),
        ("token", "12", True),
        ("api_token", 12, True),
        ("max_tokens", 4096, False),
        ("password_file", "/run/secrets/x", False),
        ("tokenType", "Bearer", False),
        ("SESSION_COOKIE_AGE", 3600, False),
        ("secret_message", "x", True),
        ("require_auth", "scram-sha-256", False),
        ("primary_key", 7, False),
    ],
)
def test_a_name_decides(name: str, value: object, secret: bool) -> None:
    assert is_secret(name, value) is secret


# What patterns begin with, go on with and look for. A pattern that tries again from each of them
# takes hours for a text of this length; the time limit of every test ends it.
ATOMS = (
    *("a", " ", "\n", "-", "_", "@", ".", "/", "\\", '"', "'", "(", "[", "=", ":", "%3D", "1"),
    *("://", "://a:", "a://b:c@", "eyJ", "eyJaaaaaa.", "gAAAAA", "Bearer ", "Basic ", "token"),
    *("password=", "password ", 'password"', "secret: [", "('token', ", "cookie: ", "&quot;"),
    *("-----BEGIN PRIVATE KEY", "-----BEGIN PRIVATE KEY-----", "/webhooks/", "://a/hooks/"),
    *("hooks.slack.com/services/", "?key=", "session=", "api key"),
)


@pytest.mark.parametrize("atom", ATOMS)
def test_no_text_takes_long(atom: str) -> None:
    long = 100_000 // len(atom)
    redact(atom * long)
    redact(atom + "a" * long)
    redact(atom * long + "@")
