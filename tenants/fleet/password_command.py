"""Passwords that a command returns at each connection: tokens of IAM, secrets that rotate.

The commands are settings of this installation, by the host that they are for, so that a user
that may change an instance can neither run a program nor have a password sent to another host.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from fnmatch import fnmatchcase

from django.conf import settings

from syncs.errors import SourceError
from tenants.models import RdsInstance
from tenants.models.instance import SslMode

TIMEOUT = 15.0  # seconds
LONGEST = 8192  # characters of a password; a token of IAM has some 2,000
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
VERIFYING = frozenset({SslMode.VERIFY_CA, SslMode.VERIFY_FULL})


class PasswordCommandFailed(SourceError):
    """The command for the instance's password failed."""

    kind = "login"

    def __init__(self, instance: RdsInstance, host: str, why: str, *, transient: bool) -> None:
        super().__init__(
            f"no password for {instance}: the command for {host} in RAINBO_PASSWORD_COMMANDS {why}"
        )
        self.transient = transient


_known: dict[tuple[str, ...], tuple[float, str]] = {}
_locks: dict[tuple[str, ...], threading.Lock] = {}
_guard = threading.Lock()


def has_command(host: str) -> bool:
    return _command(host) is not None


def password_of(instance: RdsInstance, host: str, port: int) -> str:
    """Return the instance's password: its command's output, or the stored one.

    Several threads wait for one execution. Raises PasswordCommandFailed, and CredentialError for a
    stored password.
    """
    command = _command(host)
    if command is None:
        return instance.reveal_password()
    if instance.ssl_mode not in VERIFYING and host not in LOOPBACK and not host.startswith("/"):
        raise PasswordCommandFailed(
            instance,
            host,
            f"needs an ssl mode that proves who the server is, not {instance.ssl_mode}",
            transient=False,
        )
    facts = {"host": host, "port": port, "user": instance.user, "database": instance.database}
    arguments = tuple(word.format_map(facts) for word in shlex.split(command))
    with _guard:
        lock = _locks.setdefault(arguments, threading.Lock())
    with lock:
        until, password = _known.get(arguments, (0.0, ""))
        if time.monotonic() >= until:
            password = _run(instance, host, arguments)
            _known[arguments] = (time.monotonic() + settings.RAINBO_PASSWORD_SECONDS, password)
    return password


def forget(host: str) -> None:
    """Forget passwords for a host that rejected one: the next connection runs the command."""
    for arguments in [arguments for arguments in _known if host in arguments]:
        _known.pop(arguments, None)


def _command(host: str) -> str | None:
    """Return the first command whose pattern fits the host."""
    commands: dict[str, str] = settings.RAINBO_PASSWORD_COMMANDS
    return next((text for pattern, text in commands.items() if fnmatchcase(host, pattern)), None)


def _run(instance: RdsInstance, host: str, arguments: tuple[str, ...]) -> str:
    """Run the command without a shell; its output is the password, its errors are not shown."""
    # RAINBO's own secrets are none of its business.
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAINBO_")}
    try:
        ended = subprocess.run(
            arguments,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        why = f"took more than {TIMEOUT:g} s"
        raise PasswordCommandFailed(instance, host, why, transient=True) from None
    except OSError as error:
        why = f"can't be run: {error.strerror}"
        raise PasswordCommandFailed(instance, host, why, transient=False) from None
    if ended.returncode:
        why = f"ended with exit code {ended.returncode}"
        raise PasswordCommandFailed(instance, host, why, transient=True)
    try:
        password = ended.stdout.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        password = ""
    if not password or len(password) > LONGEST or not password.isprintable():
        why = "must write the password, and nothing else, as one line"
        raise PasswordCommandFailed(instance, host, why, transient=False)
    return password
