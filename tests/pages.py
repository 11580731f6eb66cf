"""Reads the console's pages as a person does."""

from __future__ import annotations

import re
from html import unescape
from typing import Any


def text_of(response: Any) -> str:
    """The words of a page, without its tags, in one line."""
    assert response.status_code == 200, response.status_code
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", response.content.decode())))


def said(response: Any) -> str:
    """What the console showed the person after an action."""
    return "\n".join(str(message) for message in response.context["messages"])
