"""What ends a benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement that could not be taken; the message is for a person."""
