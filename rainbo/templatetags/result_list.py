"""The table of a list, with what the theme repeats in every cell said once, by class.

The theme builds the headers again for each row, and writes some 600 bytes of classes into each
cell: of a page of 50 rows that is most of its time and of its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import template
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_list import (  # type: ignore[attr-defined]
    _coerce_field_name,
)
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import lookup_field, quote
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import BooleanField, Field, ManyToOneRel
from django.template import Context
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from unfold.templatetags.unfold_list import result_headers
from unfold.utils import display_for_field, display_for_value
from unfold.views import ChangeList

from common import markup

register = template.Library()
BOX = "action_checkbox"
_TICK = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="Select {}">'


@register.inclusion_tag("console/result_list.html", takes_context=True)
def result_list(context: Context, cl: ChangeList) -> dict[str, Any]:
    """The headers and rows of a list without sections, dragging or fields to edit."""
    headers = list(result_headers(cl))
    return {
        "cl": cl,
        "opts": cl.opts,
        "result_headers": headers,
        "num_sorted_fields": sum(bool(h["sortable"] and h["sorted"]) for h in headers),
        "results": list(_rows(cl, headers)),
        "has_add_permission": cl.model_admin.has_add_permission(context["request"]),
    }


@dataclass(frozen=True)
class _Column:
    """begin, end: the tags of its cells. show: what a row has there."""

    begin: str
    end: str
    show: Callable[[Any], Any]
    is_link: bool


def _rows(cl: Any, headers: list[dict[str, Any]]) -> Iterator[SafeString]:
    found = list(cl.result_list)
    if not found:
        return
    columns = list(_columns(cl, headers))
    address = _addresses(cl, found[0])
    for row in found:
        cells = []
        for column in columns:
            shown: str = conditional_escape(column.show(row))
            if column.is_link:
                shown = f'<a href="{conditional_escape(address(row))}">{shown}</a>'
            cells.append(f"{column.begin}{shown}{column.end}")
        yield mark_safe("".join(cells))  # noqa: S308 (of parts that are escaped)


def _columns(cl: Any, headers: list[dict[str, Any]]) -> Iterator[_Column]:
    """As Django has it, the first linked column is the head of its row."""
    links, head = cl.list_display_links, "th"
    for number, name in enumerate(cl.list_display):
        is_link = links is not None and (name in links or (not links and number == _first(cl)))
        tag = head if is_link else "td"
        head = "td" if is_link else head
        label = "Select record" if name == BOX else headers[number]["text"]
        kind = "action-checkbox" if name == BOX else f"field-{_coerce_field_name(name, number)}"
        begin = format_html('<{} class="{}" data-label="{}">', tag, kind, label)
        yield _Column(begin, f"</{tag}>", _shower(cl, name), is_link)


def _first(cl: Any) -> int:
    return int(cl.list_display[0] == BOX)


def _shower(cl: Any, name: Any) -> Callable[[Any], Any]:
    """How rows are asked for a column's value: found once, not for each of them."""
    admin, empty = cl.model_admin, cl.model_admin.get_empty_value_display()
    if name == BOX:
        return lambda row: format_html(_TICK, ACTION_CHECKBOX_NAME, row.pk, row)
    field: Any
    attribute: Any
    field, attribute, _ = lookup_field(name, cl.result_list[0], admin)
    if field is not None and not field.auto_created:
        return _of_field(field, empty)
    empty = getattr(attribute, "empty_value_display", empty)
    is_boolean = getattr(attribute, "boolean", False)

    def shown(value: Any) -> Any:
        if is_boolean:
            return _in_a_word(value)
        return value if isinstance(value, SafeString) else display_for_value(value, empty)

    def show(row: Any) -> Any:
        try:
            _, _, value = lookup_field(name, row, admin)
        except ObjectDoesNotExist:
            return empty
        return shown(value)

    def call(row: Any) -> Any:
        return shown(attribute(row))

    return call if attribute == getattr(admin, str(name), None) else show


def _of_field(field: Field[Any, Any], empty: str) -> Callable[[Any], Any]:
    if isinstance(field.remote_field, ManyToOneRel):

        def related(row: Any) -> Any:
            found = getattr(row, field.name)
            return empty if found is None else found

        return related
    if isinstance(field, BooleanField):
        return lambda row: _in_a_word(getattr(row, field.attname))
    return lambda row: display_for_field(getattr(row, field.attname), field, empty)


def _in_a_word(value: bool | None) -> SafeString | str:
    """The theme's icons take 400 bytes each, and are no words to who hears them."""
    if value is None:
        return markup.quiet("unknown")
    return "yes" if value else markup.quiet("no")


@register.simple_tag
def choice_links(choices: Iterable[Mapping[str, Any]]) -> SafeString:
    """The choices of a filter, of which some have hundreds. Their addresses are encoded already."""
    chosen = {True: SafeString(' class="chosen"'), False: ""}
    return format_html_join(
        "",
        '<li{}><a href="{}">{}</a>',
        ((chosen[bool(c["selected"])], c["query_string"], c["display"]) for c in choices),
    )


def _addresses(cl: Any, first: Any) -> Callable[[Any], str]:
    """Where the rows lead, worked out for the first: another's differs by its key alone."""
    url = str(cl.url_for_result(first))
    filters = {"preserved_filters": cl.preserved_filters, "opts": cl.opts}
    kept = str(add_preserved_filters(filters, url)).removeprefix(url)
    begin, key, end = url.rpartition(f"/{quote(first.pk)}/")

    def address(row: Any) -> str:
        return f"{begin}/{quote(row.pk)}/{end}{kept}" if key else f"{cl.url_for_result(row)}{kept}"

    return address
