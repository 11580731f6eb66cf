#!/usr/bin/env python
import logging
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

logger = logging.getLogger("rainbo.manage")


def main(argv: list[str]) -> None:
    """Runs a management command; what makes it fail is logged and goes on its way."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rainbo.settings")
    try:
        execute_from_command_line(argv)
    except ImproperlyConfigured as error:
        logger.error("the command %s cannot run: %s", " ".join(argv[1:2]), error)
        raise
    except Exception:
        logger.exception("the command %s failed", " ".join(argv[1:2]))
        raise


if __name__ == "__main__":
    # The log has it already, without secrets; Python's own report would print them.
    sys.excepthook = lambda *_: None
    main(sys.argv)
