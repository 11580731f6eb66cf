"""How commands are given a token: never as an argument, which other users can see."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from common.errors import UsageError


def add_options(parser: CommandParser) -> None:
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--token-env", metavar="VARIABLE", help="environment variable with the token or password"
    )
    secret.add_argument("--token-file", metavar="FILE", help="file with the token or password")


def read(given: dict[str, Any], *, is_optional: bool = False) -> str:
    """Return the token from the given source, or ask for it on a terminal. Raises UsageError.

    is_optional: where no source is given there is none, and nobody is asked.
    """
    if variable := given["token_env"]:
        if (token := os.environ.get(variable)) is None:
            raise UsageError(f"--token-env names {variable}, which is not set")
        return token
    if path := given["token_file"]:
        try:
            return Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UsageError(f"--token-file names {path}, which can't be read: {why}") from error
    if is_optional:
        return ""
    if sys.stdin.isatty():
        return getpass.getpass("Token or password: ")
    raise UsageError("no token was given: use --token-file or --token-env")
