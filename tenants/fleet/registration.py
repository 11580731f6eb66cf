"""Registers instances and changes them: nothing is stored of one that can't be entered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from common.encryption import CredentialError
from common.errors import UsageError
from tenants.fleet import connections, identity
from tenants.fleet.identity import Register
from tenants.fleet.validation import broken_rules
from tenants.models import RdsInstance

REQUIRED = ("name", "host", "database", "user")


@dataclass(frozen=True)
class Wish:
    """What a person says of an instance. Fields that are left out stay as they are.

    check: enter the instance before anything is stored. accept_rebuilt: its server may be another
    one than remembered. copy_of: the instance that it was restored from.
    """

    fields: dict[str, Any]
    password: str | None = field(default=None, repr=False)
    check: bool = True
    accept_rebuilt: bool = False
    copy_of: int | None = None


def add(pk: int | None, wish: Wish) -> RdsInstance:
    """Register an instance; without an id it gets the next one.

    Raises UsageError for what makes no sense, and SourceError when it can't be entered.
    """
    check_new(pk, wish.fields)
    instance = RdsInstance(pk=RdsInstance.next_id() if pk is None else pk)
    if wish.password is None:
        raise UsageError("a new instance needs its password")
    return _store(instance, wish, is_new=True)


def check_new(pk: int | None, fields: dict[str, Any]) -> None:
    """Raises UsageError when the id is taken, or something that a new instance needs is missing."""
    if pk is not None and RdsInstance.objects.filter(pk=pk).exists():
        raise UsageError(f"instance {pk} is registered: add --update to change it")
    if missing := [name for name in REQUIRED if not fields.get(name)]:
        raise UsageError(f"a new instance needs {', '.join(f'--{name}' for name in missing)}")


def change(pk: int, wish: Wish) -> RdsInstance:
    """Change a registered instance. Raises as `add` does."""
    instance = RdsInstance.objects.filter(pk=pk).first()
    if instance is None:
        raise UsageError(f"no instance has the id {pk}: leave out --update to register it")
    return _store(instance, wish, is_new=False)


def needs_password(pk: int, wish: Wish) -> bool:
    """Whether the change points the stored password somewhere else, or it is of no use."""
    instance = RdsInstance.objects.filter(pk=pk).first()
    if instance is None:
        return False
    _apply(instance, wish)
    try:
        instance.reveal_password()
    except CredentialError:
        return True
    return False


def _store(instance: RdsInstance, wish: Wish, *, is_new: bool) -> RdsInstance:
    _apply(instance, wish)
    _validate(instance)
    if wish.password is None:
        instance.reseal()
    else:
        instance.set_password(wish.password)
    if wish.copy_of is not None:
        instance.copy_of = _origin(instance, wish.copy_of)
    if wish.accept_rebuilt:
        identity.forget(instance)
    if wish.check:
        _enter(instance)
    try:
        with transaction.atomic():
            if instance.is_master:
                RdsInstance.objects.filter(is_master=True).exclude(pk=instance.pk).update(
                    is_master=False
                )
            if wish.accept_rebuilt or not identity.stays_where_it_is(instance):
                identity.forget_proofs(instance.pk)
            instance.save(force_insert=is_new)
    except IntegrityError as error:
        raise UsageError(
            "somebody registered an instance with this id or name just now: look, and try again"
        ) from error
    return instance


def _apply(instance: RdsInstance, wish: Wish) -> None:
    for name, value in wish.fields.items():
        setattr(instance, name, value)
    instance.ssl_ca = "\n".join(instance.ssl_ca.splitlines())


def _validate(instance: RdsInstance) -> None:
    """Raises UsageError for settings that no connection could use."""
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


def _enter(instance: RdsInstance) -> None:
    """Connect, and take the server's identity, unless it is another instance's."""
    with connections.reach(instance, "add_instance") as source:
        found = identity.read(source)
    register = Register.load()
    register.replace(instance)
    register.admit(instance, found)
    identity.adopt(instance, found)
