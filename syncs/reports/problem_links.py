"""Where in the console to look at a problem."""

from __future__ import annotations

from collections.abc import Mapping

from django.urls import reverse

# Kind of link → the pages of the model whose row it names.
_PAGES: Mapping[str, str] = {
    "run": "syncs_syncrun",
    "instance": "tenants_rdsinstance",
    "channel": "alerts_channel",
    "connection": "integrations_connection",
    "token": "api_apitoken",
    "support session": "tenants_supportsession",
}
_LISTS: Mapping[str, str] = {
    "ghosts": "tenants_ghostuser",
    "channels": "alerts_channel",
    "support": "tenants_supportsession",
}


def path(kind: str, key: str) -> str:
    """The address of the page, from the site's root; a part of the first page has an anchor."""
    if kind in _LISTS:
        return reverse(f"admin:{_LISTS[kind]}_changelist")
    if kind in _PAGES:
        return reverse(f"admin:{_PAGES[kind]}_change", args=[key])
    return f"{reverse('admin:index')}#{f'sync-{key}' if kind == 'sync' else kind}"
