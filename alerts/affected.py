"""Whom an incident affects, in numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.text import counted
from syncs.status.problems import Problem

NOT_COUNTED: Mapping[str, Any] = {
    **dict.fromkeys(("people", "instances", "connections", "tenants")),
    "at_least": False,
}
TARGETS = ("instances", "connections")


def count(problem: Problem, tenants: Mapping[str, int | None]) -> dict[str, Any]:
    """How many people, instances, connections and tenants it affects; None: it is not known.

    tenants: of each active instance; None of one whose number is not known. at_least: there may be
    more tenants than counted, on instances whose number is not known.
    """
    all_of = "" if problem.affected else problem.about_all
    keys = tuple(tenants) if all_of == "instance" else problem.affected
    on = [tenants.get(key) for key in keys if key.isdecimal()]
    known = [number for number in on if number is not None]
    is_known = known or not (on or all_of == "instance")
    found = {
        "people": problem.people,
        "instances": len(on) or (None if all_of == "instance" else 0),
        "connections": None if all_of == "connection" else len(keys) - len(on),
        "tenants": sum(known) if is_known else None,
        "at_least": 0 < len(known) < len(on),
    }
    if problem.tenants is not None:
        found |= {"tenants": problem.tenants, "at_least": False}
    return found


def in_words(counts: Mapping[str, Any]) -> str:
    """`2 instances and 40 tenants`; empty if it is about none, or was not counted."""
    people = counts.get("people", 0)
    parts = ["an unknown number of people"] if people is None else []
    parts += [f"{people:,} people" if people > 1 else "1 person"] if people else []
    parts += [counted(counts[name], name[:-1]) for name in TARGETS if counts.get(name, 0) != 0]
    tenants = counts.get("tenants", 0)
    if tenants != 0 or counts.get("instances", 0) != 0:
        least = "at least " if counts["at_least"] else ""
        parts.append(f"{least}{counted(tenants, 'tenant')}")
    *before, last = parts or [""]
    return f"{', '.join(before)} and {last}" if before else last
