"""Discord's webhooks."""

from __future__ import annotations

import json
from datetime import datetime

from alerts import messages
from alerts.channels.result import Result, post
from alerts.models import Channel, Content

LONGEST = 1_900  # Discord rejects more than 2,000 characters


def send(channel: Channel, _: str, content: Content, __: datetime) -> Result:
    return post(channel.read_address, json.dumps(payload(content)).encode(), {})


def payload(content: Content) -> dict[str, object]:
    """Without mentions: a text that happens to have @everyone in it must call nobody."""
    return {
        "content": messages.as_text(content, LONGEST),
        "allowed_mentions": {"parse": []},
        "flags": 4,  # no previews of links
    }
