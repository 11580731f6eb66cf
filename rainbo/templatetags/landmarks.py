"""What the theme's frame is missing for users of screen readers."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
FRAME = '<div id="main"'


@register.filter
def with_main_landmark(frame: SafeString) -> SafeString:
    """The theme's frame, whose main part is marked as such and can be jumped to."""
    marked = frame.replace(FRAME, f'{FRAME} role="main" tabindex="-1"', 1)
    return mark_safe(marked)  # noqa: S308 - an attribute is all that was added
