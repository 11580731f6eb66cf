"""What the other side of a channel answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import unquote

from common import http
from common.errors import RainboError
from common.http import Answer, HttpError, Limits
from common.redaction import MASK, redact
from common.terminal import printable
from common.text import truncate

LIMITS = Limits(connect=5, read=10, total=15, size=2_000)
GONE = (404, 410)
REFUSED = (400, 413, 415, 422)  # this message, whatever becomes of others


@dataclass(frozen=True)
class Result:
    """accepted: the other side has it. detail: its answer, or why there is none, without secrets.
    is_gone: the address no longer exists, so that another attempt is of no use. is_refused: the
    other side took offence at this message, and may well take others. warning: which part of what
    was accepted was not."""

    accepted: bool
    detail: str
    is_gone: bool = False
    is_refused: bool = False
    retry_after: timedelta | None = None
    warning: str = ""


def post(read_address: Callable[[], str], body: bytes, headers: dict[str, str]) -> Result:
    """POST to an address that is a secret, and judge the answer."""
    address = ""
    try:
        address = read_address()
        answer = http.send(
            "POST",
            address,
            body=body,
            headers={"Content-Type": "application/json"} | headers,
            limits=LIMITS,
            cut=True,
            secret_path=True,
        )
    except HttpError as error:
        return Result(False, str(error))
    except RainboError as error:  # the address can't be decrypted
        return Result(False, str(error))
    return judge(answer, address)


def judge(answer: Answer, address: str) -> Result:
    """The answer's status and the beginning of its text; the address, if it quotes it, masked."""
    said = answer.text
    path = address.partition("://")[2].partition("/")[2]
    parts = [part for part in re.split(r"[/?&=#;,]", path) if len(part) >= 8]
    for secret in (address, path, *parts, *map(unquote, parts)):
        said = said.replace(secret, MASK) if secret else said
    said = redact(printable(said))
    detail = f"answered {answer.status}" + (f": {truncate(said)}" if said.strip() else "")
    if answer.is_success:
        return Result(True, detail)
    if 300 <= answer.status < 400:
        detail += " (a redirect, which is not followed: enter the address that it leads to)"
    return Result(
        False,
        detail,
        is_gone=answer.status in GONE,
        is_refused=answer.status in REFUSED,
        retry_after=answer.retry_after,
    )
