"""What the other side of a channel answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from common import http
from common.errors import RainboError
from common.http import Answer, HttpError, Limits
from common.text import truncate

LIMITS = Limits(connect=5, read=10, total=15, size=2_000)
GONE = (404, 410)


@dataclass(frozen=True)
class Result:
    """accepted: the other side has it. detail: its answer, or why there is none, without secrets.
    is_gone: the address no longer exists, so that another attempt is of no use."""

    accepted: bool
    detail: str
    is_gone: bool = False
    retry_after: timedelta | None = None


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
    for secret in (address, path, *(part for part in path.split("/") if len(part) >= 8)):
        said = said.replace(secret, "***") if secret else said
    detail = f"answered {answer.status}" + (f": {truncate(said)}" if said.strip() else "")
    if answer.is_success:
        return Result(True, detail)
    if 300 <= answer.status < 400:
        detail += " (a redirect, which is not followed: enter the address that it leads to)"
    return Result(False, detail, answer.status in GONE, answer.retry_after)
