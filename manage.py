#!/usr/bin/env python
from __future__ import annotations

import logging
import os
import sys

from django.core.management import execute_from_command_line

from rainbo import command_errors

logger = logging.getLogger("rainbo.manage")


def main(argv: list[str]) -> None:
    """Run a management command.

    An expected failure is one sentence on stderr; its traceback is logged at level DEBUG or with
    --traceback. Any other failure is logged with its traceback. Exits with 2 after wrong usage,
    with 1 after any other failure.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rainbo.settings")
    name = " ".join(argv[1:2])
    try:
        execute_from_command_line(argv)
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        failure = command_errors.explain(error)
        if failure is None or "--traceback" in argv:
            logger.exception("the command %s failed", name)
            raise
        logger.debug("the command %s failed", name, exc_info=True)
        sys.stderr.write(f"{failure.sentence}\n")
        raise SystemExit(failure.exit_code) from error


if __name__ == "__main__":
    # The log has it already, without secrets; Python's own report would print them.
    sys.excepthook = lambda *_: None
    main(sys.argv)
