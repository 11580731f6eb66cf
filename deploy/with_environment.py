"""Run a command with the variables of a file, read as systemd reads an EnvironmentFile.

A shell reads values with quotes, $, ; or spaces differently. Requires only Python.

    python3 with_environment.py /etc/rainbo/environment command and its arguments
"""  # noqa: INP001 (a program, no module)

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

LINE = re.compile(r"^[ \t]*(?![#;])(\w+)[ \t]*=[ \t]*((?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|.)*)$")
PART = re.compile(r"'([^']*)'|\"((?:\\.|[^\"\\])*)\"|\\(.)|([^'\"\\]+|.)")


def variables(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if match := LINE.match(line.rstrip()):
            yield match[1], "".join(_plain(*part) for part in PART.findall(match[2]))


def _plain(single: str, double: str, escaped: str, bare: str) -> str:
    """Within double quotes a backslash escapes only what a shell would read there."""
    return single + re.sub(r'\\(["\\`$])', r"\1", double) + escaped + bare


if __name__ == "__main__":
    path, *command = sys.argv[1:]
    os.execvpe(command[0], command, os.environ | dict(variables(Path(path).read_text())))  # noqa: S606
