"""A signed JSON webhook in the form of Standard Webhooks.

The receiver computes base64(HMAC-SHA256(key, "id.timestamp.body")) and compares it with what
follows `v1,` in the header webhook-signature; it leaves out an id that it has seen, and a timestamp
that is minutes old.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import secrets
from datetime import datetime

from alerts.channels.result import Result, post
from alerts.models import Channel, Content
from common.encryption import CredentialError
from common.errors import UsageError

PREFIX = "whsec_"
TYPE = "rainbo.alerts"


def send(channel: Channel, pk: str, content: Content, now: datetime) -> Result:
    body = json.dumps(
        {"type": TYPE, "timestamp": content["at"], "data": content}, separators=(",", ":")
    ).encode()
    try:
        key = decode_key(channel.read_signing())
    except (CredentialError, UsageError) as error:
        return Result(False, str(error))
    return post(channel.read_address, body, headers(key, pk, int(now.timestamp()), body))


def headers(key: bytes, pk: str, timestamp: int, body: bytes) -> dict[str, str]:
    signed = f"{pk}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {
        "webhook-id": pk,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def new_key() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def decode_key(text: str) -> bytes:
    """The key's bytes. Raises UsageError unless it is `whsec_` and base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise UsageError("the signing key must be whsec_ and the base64 of 24 to 64 random bytes")
    return key
