"""Takes secrets out of text that is about to be logged, stored or shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "***"

_DSN = re.compile(r"(?P<keep>[a-z][a-z0-9+.-]*://[^\s:/@]*:)\S*(?=@)", re.IGNORECASE)
_SECRET_NAME = r"(?:pass(?:word|wd|phrase)|pwd|secret|api_?key|credential_keys?|authorization)"  # noqa: S105
_VALUE = r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:(?:basic|bearer)\s+)?[^\s'"]+)"""
_PAIR = re.compile(rf"""(?P<keep>{_SECRET_NAME}[\w-]*["']?\s*[=:]\s*){_VALUE}""", re.IGNORECASE)
_FERNET = re.compile(r"gAAAAA[\w-]{20,}=*")
_NAME = re.compile(_SECRET_NAME, re.IGNORECASE)


def redact(text: str) -> str:
    """The text with the values of `password=…`, `scheme://user:…@` and Fernet tokens masked."""
    text = _DSN.sub(rf"\g<keep>{MASK}", text)
    text = _PAIR.sub(rf"\g<keep>{MASK}", text)
    return _FERNET.sub(MASK, text)


def redact_value(name: str, value: object) -> object:
    """A structured log field: masked by its name, or cleaned inside."""
    if _NAME.search(name):
        return MASK
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {str(key): redact_value(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value("", item) for item in value]
    return value
