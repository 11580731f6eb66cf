"""Validates the settings of an instance, for the command and the console."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator

from tenants.fleet import contact_mail_text, contract, ghost_roles
from tenants.models import RdsInstance
from tenants.models.instance import SslMode

_HOST = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|/[A-Za-z0-9._:/+-]+"
)
ONE_HOST = "must be one host name, address or folder of a Unix socket, and nothing else"
UNENCRYPTED = (
    "password authentication in clear text needs an ssl mode that encrypts: "
    "require, verify-ca or, better, verify-full"
)


def broken_rules(instance: RdsInstance) -> dict[str, str]:
    """Return an error for each field that no connection can use; empty if all are valid."""
    broken = {}
    if not _HOST.fullmatch(instance.host):
        broken["host"] = f"the host {ONE_HOST}"
    if instance.writer_host and not _HOST.fullmatch(instance.writer_host):
        broken["writer_host"] = f"the writer's host {ONE_HOST}"
    if instance.schema_group and instance.schema_group not in contract.groups():
        broken["schema_group"] = (
            f"schema group {instance.schema_group} has no folder in RAINBO_SOURCE_SQL: make one"
        )
    if instance.tenant_url and not _is_address(instance.tenant_url.replace("{tenant}", "1")):
        broken["tenant_url"] = (
            "the tenant URL must be an http or https address, with {tenant} for the tenant's id"
        )
    if not instance.is_master and RdsInstance.objects.filter(pk=instance.pk, is_master=True):
        broken["is_master"] = (
            f"{instance} is the master: to change that, mark another instance as the master"
        )
    if instance.is_master and not instance.is_active:
        broken["is_master"] = f"{instance} can't be the master while it is inactive"
    if instance.ssl_mode == SslMode.VERIFY_CA and not instance.ssl_ca:
        broken["ssl_ca"] = "ssl mode verify-ca needs a CA: set its certificates"
    if instance.sends_password_in_clear:
        broken["require_auth"] = UNENCRYPTED
    if instance.ssl_ca and (problem := _ca_problem(instance.ssl_ca)):
        broken["ssl_ca"] = problem
    return broken | _broken_rules_of_support(instance)


def _broken_rules_of_support(instance: RdsInstance) -> dict[str, str]:
    """What is stored stays valid, so that a role that was renamed since blocks no other change."""
    known = RdsInstance.objects.filter(pk=instance.pk)
    roles = known.values_list("ghost_roles", flat=True).first()
    found = {"support_mail_text": contact_mail_text.problem_of(instance.support_mail_text)}
    if roles != instance.ghost_roles:
        found["ghost_roles"] = ghost_roles.problem_of(instance.ghost_roles)
    return {name: problem for name, problem in found.items() if problem}


def _is_address(text: str) -> bool:
    try:
        URLValidator(schemes=["http", "https"])(text)
    except ValidationError:
        return False
    return True


def _ca_problem(pem: str) -> str:
    from cryptography import x509

    if "PRIVATE KEY" in pem:
        return "the CA contains a private key: set certificates only"
    try:
        x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return "the CA contains no certificates (PEM)"
    return ""
