"""The libpq parameters of every connection of RAINBO, so that nothing else decides about them.

libpq takes what a program does not name from PG* variables and from files of the home folder:
certificates, a root certificate that makes `require` verify, passwords. A service file can't be
overridden, so that its variables are removed.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import certifi

NOWHERE = "/dev/null/none"  # a path that never exists
SYSTEM = "system"  # names the system's list of CAs, as libpq calls it

# Where the distributions keep their list of CAs, as one file.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, Red Hat
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat before
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)

KEYWORDS: dict[str, Any] = {
    "hostaddr": "",
    "passfile": NOWHERE,  # libpq comments on one that is no plain file
    "gssencmode": "disable",
    "gssdelegation": "0",
    "gsslib": "",
    "krbsrvname": "postgres",
    "requirepeer": "",
    "sslcertmode": "disable",
    "sslcert": NOWHERE,
    "sslkey": NOWHERE,
    "sslcrl": NOWHERE,
    "sslcrldir": "",
    "sslsni": "1",
    "sslcompression": "0",
    "ssl_min_protocol_version": "TLSv1.2",
    "ssl_max_protocol_version": "",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
    "sslnegotiation": "postgres",
    "channel_binding": "prefer",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    "client_encoding": "UTF8",
}


# How values are read and written, whatever a server, database or role has set.
PINNED = {
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
}

# Connections of RAINBO's own stay open between two requests or tasks.
SESSION_LIMITS = {"idle_in_transaction_session_timeout": "60s", "idle_session_timeout": "0"}

SERVICE = ("PGSERVICE", "PGSERVICEFILE")


def options(values: Mapping[str, str]) -> str:
    """Return libpq's `options` that set these. Their values have no spaces or backslashes."""
    return " ".join(f"-c {name}={value}" for name, value in values.items())


def system_cas() -> str:
    """Return the file with the CAs that this system trusts.

    libpq's own name for it, sslrootcert=system, means the default folder of the OpenSSL that it was
    built with; that of psycopg's wheels exists nowhere.
    """
    paths = [ssl.get_default_verify_paths().cafile, *_BUNDLES]
    return next((path for path in paths if path and Path(path).is_file()), certifi.where())


def root_certificates(sslmode: str, file: str = "") -> str:
    """Return libpq's sslrootcert. file: a CA file; SYSTEM or empty for the system's list."""
    if file and file != SYSTEM:
        return file
    # With any other mode, a file that exists would make libpq verify by it.
    return system_cas() if sslmode in ("verify-ca", "verify-full") else NOWHERE
