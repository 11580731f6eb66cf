"""What a run of the ghost users tells a person of what it did on the instances."""

from __future__ import annotations

from collections.abc import Iterable

from common.errors import RainboError
from syncs.engine.run import Run
from tenants import fleet
from tenants.ghost_plan import Answer
from tenants.ghosts import PLAIN, Outcome

Part = fleet.Outcome[Answer]

STRANGE = {
    Outcome.REFUSED: "refused: another account is in the way",
    Outcome.ALTERED: "altered there, so that RAINBO can't retire them",
    Outcome.UNKNOWN: "unknown ghost users",
}


class Unrecorded(RainboError):
    """Instances were written and RAINBO's own database failed before that was recorded."""

    passing = True


def missed(answer: Answer) -> str:
    return "; ".join(str(ghost) for ghost in answer.ghosts if ghost.outcome is Outcome.MISSED)


def told(run: Run, key: str, answer: Answer) -> str:
    """Log each ghost that a person should look at; returns the note that sums them up."""
    found = [ghost.outcome for ghost in answer.ghosts]
    for ghost in answer.ghosts:
        if ghost.outcome in STRANGE:
            run.log(str(ghost), key, "warning")
    if foreign := found.count(Outcome.FOREIGN):
        run.log(f"{foreign} ghost users of another RAINBO were left alone", key)
    if answer.plain:
        run.log(
            "it can't hold the names of all admins, so its ghost users got plain ones: "
            f"ASCII letters, at most {PLAIN}",
            key,
        )
    notes = [f"{found.count(kind)} {words}" for kind, words in STRANGE.items() if kind in found]
    return "; ".join([*notes, "see the log"]) if notes else ""


def deleted(part: Part) -> str:
    """Of an instance that was deleted from RAINBO during the run."""
    answer = part.value
    made = 0 if answer is None or answer.reasons else answer.counts["added"]
    left = f"; {made} ghost users were made there and stay active" if made else ""
    return f"{part.instance} was deleted from RAINBO during the run{left}"


def unrecorded(parts: Iterable[Part]) -> str:
    """Of instances that committed what RAINBO could not record; empty when there are none."""
    written = [str(p.instance) for p in parts if p.value is not None and not p.value.reasons]
    if not written:
        return ""
    return (
        f"ghost users may have been written on {', '.join(written)} and this was not recorded; "
        "the next run finds out"
    )
