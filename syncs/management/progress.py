"""Shows the progress of a run: a bar on a terminal, one timestamped line per target elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.terminal import printable_line
from syncs.engine.parts import late
from syncs.models import RunTarget, TargetState
from syncs.reports.run_report import describe

COLOURS = {
    TargetState.SUCCEEDED: "green",
    TargetState.HELD: "yellow",
    TargetState.FAILED: "red",
    TargetState.SKIPPED: "dim",
}


class ProgressDisplay:
    """Listens to a run and shows its progress. quiet: shows nothing."""

    def __init__(self, console: Console, title: str, *, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=None, done="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, part: RunTarget) -> None:
        if self.quiet:
            return
        line = escape(printable_line(describe(part)))
        if colour := COLOURS.get(TargetState(part.state)):
            line = f"[{colour}]{line}[/{colour}]"
        if not self.console.is_terminal:
            line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}"
        self.console.print(line, markup=True)
        if self._bar.disable:
            return
        parts = part.run.targets
        stored, waiting = parts.count(), parts.filter(state=TargetState.WAITING).count()
        completed, total = stored - waiting, max(stored, len(late(part.run)))
        done = f"{completed} of {total} instances"
        self._bar.update(self._task, completed=completed, total=total, done=done)
