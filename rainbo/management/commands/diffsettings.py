from __future__ import annotations

import re
from typing import Any

from django.core.management.commands import diffsettings

from common.redaction import MASK, is_secret, redact

_LINE = re.compile(r"(?P<head>(?:[-+ ] )?(?P<name>\w+) = )(?P<value>.*)")


class Command(diffsettings.Command):
    """Django's own command, without the secrets among the settings."""

    def handle(self, **options: Any) -> str:
        return "\n".join(map(_masked, super().handle(**options).splitlines()))


def _masked(line: str) -> str:
    found = _LINE.match(line)
    if found is None:
        return redact(line)
    if is_secret(found["name"], found["value"].strip("'\"")):
        return f"{found['head']}{MASK}"
    return f"{found['head']}{redact(found['value'])}"
