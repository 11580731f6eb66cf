"""From an entry of the record to the pages of who did it and of what it was done to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

USER = "auth.user"


def add_links(rows: Sequence[Any], request: HttpRequest) -> None:
    """Give each entry its `actor_url` and `subject_url`, empty without a page to see.

    One query for each kind of object among the entries.
    """
    named: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        named[USER].add(str(row.actor_id or ""))
        named[row.subject_kind].add(row.subject_id)
    urls = {kind: _urls(kind, ids - {""}, request) for kind, ids in named.items()}
    for row in rows:
        row.actor_url = urls[USER].get(str(row.actor_id), "")
        row.subject_url = urls[row.subject_kind].get(row.subject_id, "")


def _urls(kind: str, ids: set[str], request: HttpRequest) -> dict[str, str]:
    """The pages of those objects that still exist, if the person may see them."""
    model = _shown_model(kind)
    if model is None or not ids or not _may_see(model, request):
        return {}
    page = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    found = model._default_manager.filter(pk__in=_keys(model, ids)).values_list("pk", flat=True)
    return {str(pk): reverse(page, args=[pk]) for pk in found}


def _shown_model(kind: str) -> type[Model] | None:
    """The model of that name, if the console has pages of it: names outlive the code."""
    try:
        model = apps.get_model(kind)
    except (LookupError, ValueError):
        return None
    return model if admin.site.is_registered(model) else None


def _may_see(model: type[Model], request: HttpRequest) -> bool:
    return bool(admin.site.get_model_admin(model).has_view_or_change_permission(request))


def _keys(model: type[Model], ids: Iterable[str]) -> list[Any]:
    keys = []
    for text in ids:
        try:
            keys.append(model._meta.pk.to_python(text))
        except ValidationError:
            continue
    return keys
