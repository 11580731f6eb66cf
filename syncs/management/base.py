"""Common parts of all sync commands: options, progress, closing line, exit codes."""

from __future__ import annotations

import getpass
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import CommandParser
from rich.console import Console

from common.command import RainboCommand
from common.errors import UsageError
from common.terminal import json_text, printable, printable_line
from syncs.engine import registry, runs
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.management.progress import ProgressDisplay
from syncs.models import RunState, SyncRun, TargetState, Trigger
from syncs.reports import run_report


class SyncCommand(RainboCommand):
    """Runs syncs in this process, one after the other; exits with the most severe code.

    Subclasses name the syncs and what they offer beyond --dry-run, --json and --quiet.
    """

    syncs: ClassVar[Sequence[str]] = ()
    offers: ClassVar[frozenset[str]] = frozenset()
    force: ClassVar[str] = ""  # help of --force; empty: the command has no such option

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would change")
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
        parser.add_argument(
            "--quiet", action="store_true", help="no output unless something is wrong"
        )
        if "failed_from" in self.offers:
            parser.add_argument(
                "--failed-from", type=int, metavar="RUN", help="only what failed in that run"
            )
        if "accept_held" in self.offers:
            parser.add_argument(
                "--accept-held", type=int, metavar="RUN", help="publish the changes that run holds"
            )
            parser.add_argument(
                "--reason", default="", help="why it is accepted (stored with the run)"
            )
        if self.force:
            parser.add_argument("--force", action="store_true", help=self.force)

    def handle(self, *_: object, **given: Any) -> None:
        code = self.run_syncs(given)
        if code:
            sys.exit(code)

    def run_syncs(self, given: dict[str, Any]) -> int:
        """Run the requested syncs, report the results and return the exit code."""
        output = CommandOutput(as_json=given["json"], quiet=given["quiet"])
        try:
            syncs = [registry.get(name) for name in self.select_syncs(given)]
            options = self.parse_options(given)
            with interruptible():
                records = [self._run(sync, options, output) for sync in syncs]
        except UsageError as error:
            output.show_error(str(error))
            return run_report.USAGE
        except KeyboardInterrupt:
            output.show_error(
                "Interrupted: the run is closed as failed. What was published before is kept; "
                "nothing else was published."
            )
            return run_report.INTERRUPTED
        output.summarize(records, syncs, options)
        return run_report.exit_code(records)

    def select_syncs(self, given: dict[str, Any]) -> Sequence[str]:  # noqa: ARG002 (for subclasses)
        """Return the names of the syncs to run."""
        return self.syncs

    def parse_options(self, given: dict[str, Any]) -> Options:
        """Return the run's options. Raises UsageError for invalid ones."""
        reason = " ".join((given.get("reason") or "").split())
        if reason and given.get("accept_held") is None:
            raise UsageError("--reason says why a held run is accepted: it needs --accept-held RUN")
        return Options(
            dry_run=given["dry_run"],
            force=given.get("force", False),
            accept_held=given.get("accept_held"),
            reason=reason,
            failed_from=given.get("failed_from"),
        )

    def _run(self, sync: Sync, options: Options, output: CommandOutput) -> SyncRun:
        """Execute a run in this process and show its progress."""
        record = self.request(sync, options)
        with output.progress(sync.title) as shown, without_needless_logs(quiet=output.quiet):
            record = runs.execute(record, shown, sync=sync)
        output.close(record, sync, options)
        return record

    def request(self, sync: Sync, options: Options) -> SyncRun:
        return runs.request(sync, options, Trigger.COMMAND, actor())


class CommandOutput:
    """Writes a command's output: results to stdout, problems to stderr."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._out = Console(soft_wrap=True, highlight=False, markup=False)
        self._err = Console(soft_wrap=True, highlight=False, markup=False, stderr=True)

    def show_error(self, sentence: str) -> None:
        self._err.print(printable(sentence))

    def say(self, sentence: str) -> None:
        self._out.print(printable(sentence))

    def progress(self, title: str) -> ProgressDisplay:
        return ProgressDisplay(self._err if self.as_json else self._out, title, quiet=self.quiet)

    def close(self, record: SyncRun, sync: Sync, options: Options | None = None) -> None:
        """Show a run's result; with --quiet only if something is wrong."""
        wrong = record.state != RunState.SUCCEEDED
        if self.quiet and not wrong:
            return
        lines = run_report.closing(record, sync, options)
        if self.quiet:
            parts = record.targets.exclude(state=TargetState.SUCCEEDED)
            lines = [*map(run_report.describe, parts), *lines]
        for line in lines:
            (self._err if wrong or self.as_json else self._out).print(printable_line(line))

    def summarize(self, records: list[SyncRun], syncs: list[Sync], options: Options) -> None:
        """Show the results of all. syncs: those of the records; options: what each was asked."""
        if self.as_json:
            documents = [
                run_report.document(record, sync, options)
                for record, sync in zip(records, syncs, strict=True)
            ]
            shown = documents[0] if len(documents) == 1 else {"runs": documents}
            sys.stdout.write(json_text(shown) + "\n")
        unsuccessful = [record.sync for record in records if record.state != RunState.SUCCEEDED]
        if unsuccessful and len(records) > 1:
            names = ", ".join(unsuccessful)
            self.show_error(
                f"{len(unsuccessful)} of {len(records)} syncs did not succeed: {names}."
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


@contextmanager
def without_needless_logs(*, quiet: bool = False) -> Iterator[None]:
    """Leave out of a text log what the results already say; of any, with quiet, what is all right.

    On a terminal the results also say that a run began and how it ended; a log in a file keeps it.
    """
    is_text = settings.RAINBO_LOG_FORMAT == "text"
    is_seen = is_text and sys.stderr.isatty()

    def is_new(line: logging.LogRecord) -> bool:
        if (quiet and line.levelno < logging.WARNING) or (is_seen and "event" in line.__dict__):
            return False
        is_repeated = line.levelno >= logging.ERROR or line.getMessage().startswith("held: ")
        return not (is_text and is_repeated and line.__dict__.get("target"))

    log = logging.getLogger("rainbo.run")
    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


def actor() -> str:
    """Return the user that runs this process; the uid where the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
