"""How a person here starts a management command."""

from __future__ import annotations

from django.conf import settings


def line(words: str) -> str:
    """The line for a shell: `python manage.py …` unless RAINBO_MANAGE says otherwise."""
    manage: str = settings.RAINBO_MANAGE
    return manage.replace("{}", words) if "{}" in manage else f"{manage} {words}"
