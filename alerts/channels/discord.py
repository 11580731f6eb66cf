"""Discord's webhooks."""

from __future__ import annotations

import json
import re
from datetime import datetime

from alerts import messages
from alerts.channels.result import Result, post
from alerts.models import Channel, Content

LIMIT = 2_000  # characters: Discord rejects more
LENGTHS = (1_900, 1_400, 900)  # the first that fits after what formats is escaped
FORMATS = re.compile(r"[\\*`~|<\[\]]")  # else a name could be a link that leads elsewhere


def send(channel: Channel, _: str, content: Content, __: datetime) -> Result:
    return post(channel.read_address, json.dumps(payload(content)).encode(), {})


def payload(content: Content) -> dict[str, object]:
    """Without mentions: a text that happens to have @everyone in it must call nobody."""
    texts = (FORMATS.sub(r"\\\g<0>", messages.as_text(content, n)) for n in LENGTHS)
    return {
        "content": next(text for text in texts if len(text) <= LIMIT),
        "allowed_mentions": {"parse": []},
        "flags": 4,  # no previews of links
    }
