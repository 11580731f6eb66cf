"""What stored digests were computed from: facts, kept as text, that a later run compares."""

from __future__ import annotations

from collections.abc import Mapping

DOUBTED = "doubted"  # a fact: the stored rows were found not to be what was published


def written(facts: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in facts.items())


def read(basis: str) -> dict[str, str]:
    return dict(fact.split("=", 1) for fact in basis.split())
