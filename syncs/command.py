"""What the commands of all syncs share: options, progress, the closing line, exit codes."""

from __future__ import annotations

import getpass
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console

from syncs import report, runs, specs
from syncs.errors import UsageError
from syncs.models import RunState, SyncRun, TargetState, Trigger
from syncs.options import Options
from syncs.progress import Shown


class SyncCommand(BaseCommand):
    """Runs syncs in this process, one after the other, and ends with the gravest exit code.

    Subclasses name the syncs and what they offer beyond --dry-run, --json and --quiet.
    """

    syncs: ClassVar[Sequence[str]] = ()
    offers: ClassVar[frozenset[str]] = frozenset()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would change")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
        parser.add_argument("--quiet", action="store_true", help="silent unless something is wrong")
        if "failed_from" in self.offers:
            parser.add_argument(
                "--failed-from", type=int, metavar="RUN", help="take only what failed in that run"
            )
        if "accept_held" in self.offers:
            parser.add_argument(
                "--accept-held", type=int, metavar="RUN", help="publish what that run holds"
            )
            parser.add_argument("--reason", default="", help="why it is accepted; kept")

    def handle(self, *_: object, **given: Any) -> None:
        code = self.run_syncs(given)
        if code:
            sys.exit(code)

    def run_syncs(self, given: dict[str, Any]) -> int:
        """Run what was asked for, tell how it went, and return the exit code."""
        out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
        try:
            options = self.options(given)
            with interruptible():
                records = list(self._each(options, given, err if given["json"] else out))
        except UsageError as error:
            err.print(str(error), markup=False, highlight=False)
            return report.USAGE
        except KeyboardInterrupt:
            err.print(
                "Interrupted: the run is closed as failed. What was published stays; "
                "nothing else was.",
                highlight=False,
            )
            return report.INTERRUPTED
        self._tell(records, given, out, err)
        return report.exit_code(records)

    def options(self, given: dict[str, Any]) -> Options:
        """The run's options. Raises UsageError for what makes no sense."""
        return Options(
            dry_run=given["dry_run"],
            accept_held=given.get("accept_held"),
            reason=given.get("reason") or "",
            failed_from=given.get("failed_from"),
        )

    def _each(self, options: Options, given: dict[str, Any], console: Console) -> Iterator[SyncRun]:
        for name in self.syncs:
            record = runs.request(name, options, Trigger.COMMAND, actor())
            title = specs.get(name).title
            with Shown(console, title, quiet=given["quiet"]) as shown:
                yield runs.execute(record, shown)

    def _tell(
        self, records: list[SyncRun], given: dict[str, Any], out: Console, err: Console
    ) -> None:
        if given["json"]:
            documents = [report.document(record) for record in records]
            shown = documents[0] if len(self.syncs) == 1 else {"runs": documents}
            sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
        for record in records:
            wrong = record.state != RunState.SUCCEEDED
            if given["quiet"] and not wrong:
                continue
            console = err if wrong or given["json"] else out
            if wrong and given["quiet"]:
                for part in record.targets.exclude(state=TargetState.SUCCEEDED):
                    console.print(report.describe(part), markup=False, highlight=False)
            for line in report.closing(record):
                console.print(line, markup=False, highlight=False)
        unwell = [record.sync for record in records if record.state != RunState.SUCCEEDED]
        if unwell and len(records) > 1:
            err.print(
                f"{len(unwell)} of {len(records)} syncs did not succeed: {', '.join(unwell)}.",
                highlight=False,
            )


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a run the way Ctrl-C does, so that it closes its record."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def actor() -> str:
    """Who runs this process; a number where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
