"""Until when the TLS certificates of instances are valid.

libpq does not say, so that the server is asked by a handshake of its own, which ends before any
login: neither a password nor a query is sent. What it shows is not verified here; the connections
of RAINBO verify it, as the ssl mode says.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from tenants.fleet.connection_budget import BUDGET
from tenants.fleet.parallel import ConnectionWatchdog, visit_all
from tenants.models import RdsInstance
from tenants.models.instance import SslMode

if TYPE_CHECKING:  # loaded with the first certificate
    from cryptography import x509

EVERY = timedelta(hours=24)
LIMIT = 5.0  # seconds for one instance
SLOT_WAIT = 1.0  # seconds for a free connection
_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL's SSLRequest
_ACCEPTED, _NO_TLS = b"S", b"N"


@dataclass(frozen=True)
class Certificates:
    """server: until when its certificate is valid; None if it has no TLS. ca: None without one."""

    server: datetime | None
    ca: datetime | None


def is_due(instance: RdsInstance, now: datetime) -> bool:
    """Whether a day has passed since the certificates were read, or the settings were changed."""
    at = instance.certificate_read_at
    return at is None or now - at >= EVERY or instance.certificate_of != digest(instance)


def digest(instance: RdsInstance) -> str:
    """What the certificates were read for: another address or CA has others."""
    settings_ = (instance.host, instance.port, *instance.writer, instance.ssl_mode, instance.ssl_ca)
    return hashlib.sha256(repr(settings_).encode()).hexdigest()[:16]


def read_all(instances: Sequence[RdsInstance]) -> dict[int, Certificates]:
    """The certificates of instances, several at once; those that could not be read are left out."""

    def work(instance: RdsInstance, _: ConnectionWatchdog) -> Certificates:
        with BUDGET.connection_to(instance, wait=SLOT_WAIT):
            return read(instance)

    threads = settings.RAINBO_FLEET_THREADS
    outcomes = visit_all(instances, work, lambda outcome: outcome, threads=threads, limit=LIMIT)
    return {o.instance.pk: o.value for o in outcomes if o.value is not None}


def read(instance: RdsInstance) -> Certificates:
    """The certificates of an instance. Raises OSError if its server does not answer as one.

    Where ghost users are written elsewhere, the server whose certificate ends first counts.
    """
    if instance.ssl_mode == SslMode.DISABLE:
        return Certificates(None, None)
    addresses = dict.fromkeys(((instance.host, instance.port), instance.writer))
    found = [shown for host, port in addresses if (shown := _ask(host, port))]
    first = min(found, key=lambda one: one.not_valid_after_utc, default=None)
    ends_at = first.not_valid_after_utc if first else None
    return Certificates(ends_at, _end_of_ca(instance.ssl_ca, first))


def _ask(host: str, port: int) -> x509.Certificate | None:
    """The certificate that the server shows; None if it has no TLS."""
    from cryptography import x509

    if host.startswith("/"):  # the folder of a Unix socket
        return None
    timeout = min(float(settings.RAINBO_CONNECT_TIMEOUT), LIMIT)
    with socket.create_connection((host, port), timeout) as plain:
        plain.sendall(_REQUEST)
        answer = plain.recv(1)
        if answer == _NO_TLS:
            return None
        if answer != _ACCEPTED:
            raise OSError(f"{host}:{port} did not answer as PostgreSQL does")
        with _context().wrap_socket(plain, server_hostname=host) as encrypted:
            shown = encrypted.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(shown) if shown else None


def _context() -> ssl.SSLContext:
    """One that also reads what no CA signed, or what has expired."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _end_of_ca(pem: str, shown: x509.Certificate | None) -> datetime | None:
    """When the last CA ends that can have signed what the server shows.

    If none has the name of its issuer (an intermediate CA signed it), the last of all.
    """
    from cryptography import x509

    if not pem:
        return None
    known = x509.load_pem_x509_certificates(pem.encode())
    signers = [ca for ca in known if shown is not None and ca.subject == shown.issuer]
    return max(ca.not_valid_after_utc for ca in signers or known)
