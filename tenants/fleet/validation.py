"""What settings of an instance must be like, whoever enters them, and where."""

from __future__ import annotations

import re

from cryptography import x509

from tenants.models import RdsInstance
from tenants.models.instance import SslMode

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
UNENCRYPTED = (
    "logging in by a password in clear needs an ssl mode that encrypts: "
    "require, verify-ca or, better, verify-full"
)


def broken_rules(instance: RdsInstance) -> dict[str, str]:
    """What no connection could use, by field, each in a sentence; empty when all is well."""
    broken = {}
    if not _HOST.fullmatch(instance.host):
        broken["host"] = "the host must be one host name or address, and nothing else"
    if instance.is_master and not instance.is_active:
        broken["is_master"] = f"{instance} can't be the master and not active"
    if instance.ssl_mode == SslMode.VERIFY_CA and not instance.ssl_ca:
        broken["ssl_ca"] = "ssl mode verify-ca needs a CA: give its certificates"
    if instance.sends_password_in_clear:
        broken["require_auth"] = UNENCRYPTED
    if instance.ssl_ca and (words := _why_no_ca(instance.ssl_ca)):
        broken["ssl_ca"] = words
    return broken


def _why_no_ca(pem: str) -> str:
    if "PRIVATE KEY" in pem:
        return "the CA holds a private key: give certificates alone"
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return "the CA holds no certificates (PEM)"
    return ""
