"""What keeps a form from being saved, for the note at its top."""

from __future__ import annotations

from typing import Any

from django import template
from django.forms import BoundField
from django.template import Context

register = template.Library()


@register.simple_tag(takes_context=True)
def wrong_fields(context: Context) -> list[BoundField]:
    """The fields with errors, of an admin page's form or of another page's."""
    form: Any = context.get("adminform") or context.get("form")
    return [field for field in getattr(form, "form", form) or () if field.errors]
