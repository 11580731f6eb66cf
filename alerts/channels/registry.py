"""What every kind of channel offers, and how its answers are judged."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db import DatabaseError

from alerts.channels import apprise, discord, email, slack, webhook
from alerts.channels.result import Result
from alerts.models import GIVES_UP_AFTER, Channel, ChannelKind, Content
from common import http

logger = logging.getLogger("rainbo.alerts")


def _host(url: str) -> str:
    return http.check_address(url).hostname or ""


@dataclass(frozen=True)
class Kind:
    """send: takes a channel, the message's id and content, and the time; never raises for what
    the other side does. missing: what must be installed first; empty if nothing. check_address:
    what is shown of a URL that it takes; raises RainboError for another. has_address: it has one.
    has_signing: it is signed."""

    send: Callable[[Channel, str, Content, datetime], Result]
    has_address: bool = True
    has_signing: bool = False
    check_address: Callable[[str], str] = _host
    missing: Callable[[], str] = str


KINDS: Mapping[str, Kind] = {
    ChannelKind.SLACK: Kind(slack.send),
    ChannelKind.DISCORD: Kind(discord.send),
    ChannelKind.EMAIL: Kind(email.send, has_address=False),
    ChannelKind.WEBHOOK: Kind(webhook.send, has_signing=True),
    ChannelKind.APPRISE: Kind(
        apprise.send, check_address=apprise.check_address, missing=apprise.missing
    ),
}
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 240))


def send(channel: Channel, pk: str, content: Content, now: datetime) -> Result:
    """Send a message and return the result. A fault of ours in sending one is a result as well:
    it must not keep the messages of other channels back."""
    try:
        return KINDS[channel.kind].send(channel, pk, content, now)
    except DatabaseError:
        raise
    except Exception as error:  # noqa: BLE001 (the boundary: the channel has the error)
        # The kind and the place alone: the words of an error may have the address.
        kind, frame = type(error).__name__, traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        logger.error("channel %s: %s in %s", channel.name, kind, place)
        return Result(False, f"sending it failed in RAINBO itself: {kind}; the log says where")


def is_over(attempts: int, result: Result, age: timedelta) -> bool:
    """Whether no further attempt is made after so many. age: of the message at the next one.

    What is refused for itself is tried twice: a server in between may have answered the first.
    """
    return result.is_gone or age > GIVES_UP_AFTER or (result.is_refused and attempts > 1)


def wait(attempts: int, result: Result) -> timedelta:
    """How long to wait after so many attempts: ever longer, and not less than asked for."""
    usual = WAITS[min(attempts, len(WAITS)) - 1]
    return max(usual, min(result.retry_after or timedelta(), WAITS[-1]))
