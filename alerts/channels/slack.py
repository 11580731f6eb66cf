"""Slack's incoming webhooks, and those that take the same: Mattermost, Rocket.Chat."""

from __future__ import annotations

import json
from datetime import datetime

from alerts import messages
from alerts.channels.result import Result, post
from alerts.models import Channel, Content

LONGEST = 3_000
ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})  # else <!channel> would call all


def send(channel: Channel, _: str, content: Content, __: datetime) -> Result:
    result = post(channel.read_address, json.dumps(payload(content)).encode(), {})
    if result.accepted and result.detail.partition(": ")[2].startswith("<"):
        return Result(False, "answered with a web page where Slack says ok: is the URL a webhook?")
    return result


def payload(content: Content) -> dict[str, object]:
    text = messages.calls_nobody(messages.as_text(content, LONGEST)).translate(ESCAPED)
    text = text.replace("](", "]\u200d(")  # Mattermost makes links of [name](address)
    return {"text": text, "mrkdwn": False, "unfurl_links": False}
