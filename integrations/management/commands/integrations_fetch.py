from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from common.errors import UsageError
from integrations import registration
from integrations.models import Connection
from integrations.models.connection import KEY, parse_key
from syncs.engine.options import Options
from syncs.management.base import SyncCommand
from syncs.models import SyncRun


class Command(SyncCommand):
    help = "Fetch connected services that were last fetched longer ago than half their frequency."
    offers = frozenset({"failed_from", "accept_held"})
    force = "whatever their frequency is"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--service", metavar="NAME", help="only connections of this service")
        parser.add_argument(
            "--connection",
            nargs="+",
            action="extend",
            default=[],
            metavar="N",
            help="only these connections (ids), whatever their frequency",
        )

    def select_syncs(self, given: dict[str, Any]) -> Sequence[str]:
        if service := given["service"]:
            return (registration.find_service(service).name,)
        if (run := given["failed_from"] or given["accept_held"]) is not None:
            found = [*SyncRun.objects.filter(pk=run).values_list("sync", flat=True)]
            if not found:
                raise UsageError(f"there is no run {run}")
            return found
        rows = Connection.objects.all()
        if given["connection"]:
            rows = rows.filter(pk__in=parse_ids(given["connection"]))
        found = sorted(set(rows.values_list("service", flat=True)))
        if given["connection"] and len(found) > 1:
            raise UsageError(f"they are of {' and '.join(found)}: name connections of one service")
        if not found:
            raise UsageError("there is no such connection: integrations_add makes one")
        return found

    def parse_options(self, given: dict[str, Any]) -> Options:
        targets = tuple(f"{KEY}{pk}" for pk in parse_ids(given["connection"]))
        return replace(super().parse_options(given), targets=targets)


def parse_ids(names: Sequence[str]) -> list[int]:
    """`5`, or `connection/5` as runs name it."""
    found = {name: parse_key(name) for name in names}
    if wrong := [name for name, pk in found.items() if pk is None]:
        raise UsageError(f"{wrong[0][:100]!r} is no id of a connection")
    return [pk for pk in found.values() if pk is not None]
