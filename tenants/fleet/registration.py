"""Registers and changes instances; nothing is stored if the connection fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from common.encryption import CredentialError
from common.errors import UsageError
from syncs.errors import WrongIdentity
from tenants.fleet import connections, identity
from tenants.fleet.identity import Register
from tenants.fleet.password_command import has_command
from tenants.fleet.validation import broken_rules
from tenants.models import RdsInstance

REQUIRED = ("name", "host", "database", "user")


@dataclass(frozen=True)
class InstanceInput:
    """The settings of an instance to register or change. Missing fields keep their value.

    check: connect before anything is stored. accept_rebuilt: its server may have another identity
    than the stored one. copy_of: the instance that it was restored from.
    """

    fields: dict[str, Any]
    password: str | None = field(default=None, repr=False)
    check: bool = True
    accept_rebuilt: bool = False
    copy_of: int | None = None


@dataclass(frozen=True)
class Registered:
    """An instance that was stored. is_pooled: its server was reached through a pooler."""

    instance: RdsInstance
    is_pooled: bool = False


def add(pk: int | None, given: InstanceInput) -> Registered:
    """Register an instance; default id: the next free one.

    Raises UsageError for invalid settings, and SourceError if the connection fails.
    """
    check_new(pk, given.fields)
    instance = RdsInstance(pk=RdsInstance.next_id() if pk is None else pk)
    if given.password is None and not has_command(str(given.fields.get("host", ""))):
        raise UsageError("a new instance needs a password")
    return _store(instance, given, is_new=True)


def check_new(pk: int | None, fields: dict[str, Any]) -> None:
    """Raise UsageError if the id is taken or a required setting is missing."""
    if pk is not None and RdsInstance.objects.filter(pk=pk).exists():
        raise UsageError(f"instance {pk} is already registered: use --update to change it")
    if missing := [name for name in REQUIRED if not fields.get(name)]:
        raise UsageError(f"a new instance needs {', '.join(f'--{name}' for name in missing)}")


def change(pk: int, given: InstanceInput) -> Registered:
    """Change a registered instance. Raises as `add` does."""
    instance = RdsInstance.objects.filter(pk=pk).first()
    if instance is None:
        raise UsageError(f"no instance has the id {pk}: omit --update to register it")
    return _store(instance, given, is_new=False)


def needs_password(pk: int, given: InstanceInput) -> bool:
    """Whether the change needs the password again, or the stored one can't be used."""
    instance = RdsInstance.objects.filter(pk=pk).first()
    if instance is None:
        return False
    _apply(instance, given)
    if has_command(instance.host):
        return False
    try:
        instance.reveal_password()
    except CredentialError:
        return True
    return False


def keep_password(instance: RdsInstance) -> None:
    """Bind the stored password to the settings of now.

    One that does not fit them is dropped if a command returns the password; otherwise raises
    CredentialError.
    """
    try:
        instance.rebind_password()
    except CredentialError:
        if not has_command(instance.host):
            raise
        instance.set_password("")


def verify_within(instance: RdsInstance, limit: float) -> None:
    """Connect with settings that are not stored yet, and take over the server's identity.

    limit: seconds for each address. Raises SourceError, and UsageError if another has it.
    """
    met = _meet(instance, limit)
    if instance.writer_host and _meet(instance, limit, writes=True) != met:
        raise _other_writer(instance)


def _meet(instance: RdsInstance, limit: float, *, writes: bool = False) -> str:
    """Return the identity of the server, which may not be another than the one known."""
    (outcome,) = connections.each_instance(
        [instance], lambda *_: None, "add_instance", writes=writes, remember=False, limit=limit
    )
    if outcome.error is not None:
        raise outcome.error
    return instance.identity


def _other_writer(instance: RdsInstance) -> WrongIdentity:
    return WrongIdentity(f"the writer of {instance} is another server than its host: check both")


def _store(instance: RdsInstance, given: InstanceInput, *, is_new: bool) -> Registered:
    _apply(instance, given)
    _validate(instance)
    if given.password is not None:
        instance.set_password(given.password)
    else:
        keep_password(instance)
    if given.copy_of is not None:
        instance.copy_of = _origin(instance, given.copy_of)
    if given.accept_rebuilt:
        identity.forget(instance)
    is_pooled = given.check and _verify(instance)
    try:
        with transaction.atomic():
            if instance.is_master:
                RdsInstance.objects.filter(is_master=True).exclude(pk=instance.pk).update(
                    is_master=False
                )
            if given.accept_rebuilt or not identity.stays_where_it_is(instance):
                identity.forget_proofs(instance.pk)
            instance.save(force_insert=is_new)
    except IntegrityError as error:
        raise UsageError(
            "an instance with this id or name was registered just now: check, and try again"
        ) from error
    return Registered(instance, is_pooled)


def _apply(instance: RdsInstance, given: InstanceInput) -> None:
    for name, value in given.fields.items():
        setattr(instance, name, value)
    instance.ssl_ca = "\n".join(instance.ssl_ca.splitlines())


def _validate(instance: RdsInstance) -> None:
    """Raise UsageError for settings that no connection can use."""
    if broken := broken_rules(instance):
        raise UsageError("; ".join(broken.values()))
    if RdsInstance.objects.filter(name=instance.name).exclude(pk=instance.pk).exists():
        raise UsageError(f"another instance is named {instance.name}: choose another name")
    try:
        instance.full_clean(exclude=["password"], validate_constraints=False)
    except ValidationError as error:
        raise UsageError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    return "; ".join(
        f"{name.replace('_', ' ')}: {' '.join(messages)}"
        for name, messages in error.message_dict.items()
    )


def _origin(instance: RdsInstance, pk: int) -> RdsInstance:
    origin = RdsInstance.objects.filter(pk=pk).first()
    if origin is None or pk == instance.pk:
        raise UsageError(f"--copy-of takes the id of another registered instance, not {pk}")
    return origin


def _verify(instance: RdsInstance) -> bool:
    """Connect and take over the server's identity, unless another instance has it.

    Returns whether a pooler is in between.
    """
    with connections.reach(instance, "add_instance") as (source, found):
        is_pooled = source.is_pooled
    if instance.writer_host:
        with connections.reach(instance, "add_instance", writes=True) as (_, writer):
            if str(writer) != str(found):
                raise _other_writer(instance)
    register = Register.load()
    register.replace(instance)
    register.admit(instance, found)
    identity.adopt(instance, found)
    return is_pooled
