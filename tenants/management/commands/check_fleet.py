from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.text import Text

from common.command import RainboCommand
from common.errors import UsageError
from common.terminal import printable_line
from tenants.health import checks, last_checks
from tenants.health.checks import Checked
from tenants.health.findings import Finding, Level
from tenants.management.base import add_rds
from tenants.models import RdsInstance

COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "bold red"}


class Command(RainboCommand):
    help = "Check that RAINBO can work on every instance, and show which privileges to grant."

    def add_arguments(self, parser: CommandParser) -> None:
        add_rds(parser)
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, *args: object, **given: Any) -> None:
        checked = checks.check_fleet(_instances(given["rds"]))
        last_checks.remember(checked)
        master = [] if given["rds"] else checks.check_master()
        if given["json"]:
            self.stdout.write(json.dumps(_document(checked, master), indent=2))
        else:
            _show(checked, master)
        wrong = any(finding.level is Level.ERROR for finding in master)
        if wrong or any(one.has_errors for one in checked):
            sys.exit(1)


def _instances(ids: list[int]) -> list[RdsInstance]:
    """Return the named instances, active or not; by default all active ones."""
    if not ids:
        found = list(RdsInstance.objects.filter(is_active=True))
        if not found:
            raise UsageError("no instance is active: register one with add_instance")
        return found
    found = list(RdsInstance.objects.filter(pk__in=ids))
    if missing := set(ids) - {instance.pk for instance in found}:
        raise UsageError(f"no instance has the id {', '.join(map(str, sorted(missing)))}")
    return found


def _show(checked: list[Checked], master: list[Finding]) -> None:
    console = Console(soft_wrap=True)
    for one in checked:
        name = printable_line(f"{one.instance} at {one.instance.host}:{one.instance.port}")
        console.print(Text(name, "bold"))
        for finding in one.findings:
            console.print(_line(finding))
    if master:
        console.print(Text("The fleet", "bold"))
    for finding in master:
        console.print(_line(finding))


def _line(finding: Finding) -> Text:
    return Text.assemble(
        "  ", (f"{finding.level:<8}", COLOURS[finding.level]), f" {printable_line(finding.text)}"
    )


def _document(checked: list[Checked], master: list[Finding]) -> dict[str, Any]:
    return {
        "instances": [
            {
                "id": one.instance.pk,
                "name": one.instance.name,
                "ok": not one.has_errors,
                "findings": [_as_json(finding) for finding in one.findings],
            }
            for one in checked
        ],
        "fleet": [_as_json(finding) for finding in master],
    }


def _as_json(finding: Finding) -> dict[str, str]:
    return {"level": finding.level.value, "text": finding.text}
