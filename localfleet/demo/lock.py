"""Whether a demo runs here, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from localfleet.demo import manage_command
from localfleet.demo.state import State
from localfleet.errors import FleetError
from localfleet.folders import locked


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Only one demo runs in a checkout; a second one is shown where the first is."""
    where = f" at {address}" if (address := serving(root)) else ""
    with locked(root / "lock", f"The demo already runs{where}: stop it there with Ctrl-C."):
        withdraw(root)
        yield


def announce(root: Path, address: str) -> None:
    """From here on the demo serves at this address."""
    _file(root).write_text(address)


def withdraw(root: Path) -> None:
    _file(root).unlink(missing_ok=True)


def serving(root: Path) -> str:
    """The address that was announced, empty when there is none."""
    return _file(root).read_text() if _file(root).exists() else ""


def manage(root: Path, words: Sequence[str]) -> NoReturn:
    """Turn this process into a management command against the demo that serves."""
    if not _runs(root):
        raise FleetError("No demo runs in this checkout: start it with `make demo`.")
    if not serving(root):
        raise FleetError("The demo is not ready yet: wait until it shows its address.")
    manage_command.become(words or ["help"], State.load(root).environment())


def _runs(root: Path) -> bool:
    try:
        with locked(root / "lock", refusal="it runs"):
            return False
    except FleetError:
        return True


def _file(root: Path) -> Path:
    return root / "address"
