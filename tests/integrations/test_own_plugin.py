"""Services of packages that are installed next to RAINBO come by their entry point."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from integrations import plugin, services
from syncs.engine import registry

LIBRARY = """
from datetime import timedelta
from integrations.plugin import Plugin, Token

class Library(Plugin):
    name, title, period = "library", "Town library", timedelta(hours=1)
    base_url, auth = "https://library.example.com", Token(help="")

    def fetch_data(self, source, position):
        yield from ()
"""
Install = Callable[[str], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Install a package with this module; what it registers is forgotten at the end."""

    def installed(code: str) -> None:
        (tmp_path / "our_package.py").write_text(code)
        about = tmp_path / "our_package-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: our-package\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[rainbo.services]\nours = our_package:Library\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    fleet = {n: sync for n, sync in registry._registry.items() if n not in plugin.all_plugins()}
    monkeypatch.setattr(plugin, "_plugins", {})
    monkeypatch.setattr(registry, "_registry", fleet)
    monkeypatch.delitem(sys.modules, "our_package", raising=False)
    return installed


def test_a_service_of_another_package_is_a_sync_like_ours(install: Install) -> None:
    install(LIBRARY)
    services.register_all()
    assert plugin.find("library").title == "Town library"
    assert registry.get("library").command == "integrations_fetch --service library"
    assert not registry.get("library").cron
    assert "github" in plugin.all_plugins()


@pytest.mark.parametrize(
    ("former", "other", "why"),
    [
        ('"library",', '"user_routing",', "another sync has that name"),
        ('"library",', '"github",', "another sync has that name"),
        ('"library",', '"a-b",', "'a-b' names no service"),
        ("class Library(Plugin)", "class Other(Plugin)", "ours of our-package can't be loaded"),
        ("import Plugin, Token", "import Plugin, Tokens", "ours of our-package can't be loaded"),
        ("class Library(Plugin)", "class Library", "is no integrations.plugin.Plugin"),
    ],
)
def test_one_that_does_not_work_is_named_at_the_start(
    install: Install, former: str, other: str, why: str
) -> None:
    assert former in LIBRARY
    install(LIBRARY.replace(former, other))
    with pytest.raises(ImproperlyConfigured, match=why):
        services.register_all()
