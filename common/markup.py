"""How pages show states, ages and numbers: one way for all of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from common import text


class Tone(StrEnum):
    """What a state means for the one who looks: its colour and its shape."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    BUSY = "busy"
    QUIET = "quiet"


@lru_cache(maxsize=1024)
def badge(word: str, tone: Tone, why: str = "") -> SafeString:
    """A state as a word with a colour and a shape; why: the tooltip. A page has hundreds alike."""
    title = format_html(' title="{}"', why) if why else ""
    return format_html('<span class="badge badge-{}"{}>{}</span>', tone.value, title, word)


def quiet(word: str) -> SafeString:
    """What is missing or unknown, said in a word."""
    return format_html('<span class="quiet">{}</span>', word)


def age(at: datetime | None, now: datetime, missing: str = "never") -> SafeString:
    """How long ago, or in how long, with the exact time and its zone within reach."""
    if at is None:
        return quiet(missing)
    # Digits and names of zones: nothing in it needs escaping, and a page has hundreds.
    shown = f'<time datetime="{at.isoformat()}" title="{exact(at)}">{distance(at, now)}</time>'
    return mark_safe(shown)  # noqa: S308


def moment(at: datetime | None, now: datetime, missing: str = "never") -> SafeString:
    """The exact time in text, and how far it is."""
    if at is None:
        return quiet(missing)
    return format_html(
        '<time datetime="{}">{}</time> ({})', at.isoformat(), exact(at), distance(at, now)
    )


def exact(at: datetime) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}"


def distance(at: datetime, now: datetime) -> str:
    if at > now:
        return f"in {text.format_duration(at - now)}"
    return f"{text.format_duration(now - at)} ago"


def number(value: int | None, missing: str = "unknown") -> SafeString:
    """Show a count; None is shown as unknown, never as 0."""
    if value is None:
        return quiet(missing)
    return format_html('<span class="number">{}</span>', f"{value:,}")


def measured(value: str) -> SafeString:
    """A number with its unit, in figures of one width."""
    return format_html('<span class="number">{}</span>', value)


def seconds_in_words(seconds: float) -> str:
    """`340 ms`, `12.3 s`, `140 s`."""
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms"
    return f"{seconds:,.1f} s" if seconds < 100 else f"{seconds:,.0f} s"


def took(seconds: float | None) -> SafeString:
    if seconds is None:
        return quiet("–")
    return format_html('<span class="number">{} s</span>', f"{seconds:,.1f}")


def copyable(text: str, shown: SafeString | str = "") -> SafeString:
    """A text that a button next to it copies; shown: what stands for it, such as a link."""
    return format_html('<span data-copy="{}">{}</span>', text, shown or text)


def brief(words: str, longest: int = 80) -> SafeString:
    """The beginning of a text, the whole of it within reach."""
    shown = text.clip(words, longest)
    if shown == words:
        return format_html("{}", words)
    return format_html('<span title="{}">{}</span>', words, shown)
