"""What libpq says by itself goes to the terminal of whoever runs a command."""

from __future__ import annotations

import psycopg
import pytest

from common.libpq import KEYWORDS


def test_a_connection_without_a_password_is_not_commented(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Such as one by stored SCRAM keys: libpq looks for a password file, and is to find none."""
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host="127.0.0.1", port=1, user="ann", dbname="app", **KEYWORDS)
    assert "".join(capfd.readouterr()) == ""
