"""Signal handlers for leavers and deleted instances.

An admin that loses the permission loses the ghost users at once. Single saves and deletions and
every change of groups and permissions are noticed. An `update()` of many users and plain SQL send
no signal: those leavers are found within a minute. With an instance, all that syncs proved of it
is deleted.
"""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete

from common.later import later
from tenants.models import RdsInstance

User = get_user_model()
_retire_leavers = later("tenants.ghosts.owed.retire_leavers")
_forget_keys = later("tenants.fleet.scram_store.forget")
_forget_proofs = later("tenants.fleet.identity.forget_proofs")
HARMLESS = frozenset({"last_login", "password", "email", "first_name", "last_name"})


def _check_after_commit(**_: object) -> None:
    # A failure must not break the change of the user; the leavers are found within a minute.
    transaction.on_commit(_retire_leavers, robust=True)


def _user_saved(created: bool, update_fields: frozenset[str] | None, **_: object) -> None:
    if not created and not (update_fields and update_fields <= HARMLESS):
        _check_after_commit()


def _members_changed(action: str, **_: object) -> None:
    if action in {"post_remove", "post_clear"}:
        _check_after_commit()


def _instance_saved(
    instance: RdsInstance, update_fields: Collection[str] | None = None, **_: object
) -> None:
    if update_fields is None or "password" in update_fields:
        _forget_keys(instance)


def _instance_deleted(instance: RdsInstance, **_: object) -> None:
    _forget_proofs(instance.pk)


post_save.connect(_user_saved, sender=User, dispatch_uid="leavers by save")
for model in (User, Group, Permission):
    post_delete.connect(_check_after_commit, sender=model, dispatch_uid=f"leavers by {model}")
for relation in (User.groups, User.user_permissions, Group.permissions):
    m2m_changed.connect(
        _members_changed, sender=relation.through, dispatch_uid=f"leavers by {relation.through}"
    )
post_save.connect(_instance_saved, sender=RdsInstance, dispatch_uid="keys of a changed instance")
post_delete.connect(_instance_saved, sender=RdsInstance, dispatch_uid="keys of a deleted instance")
pre_delete.connect(
    _instance_deleted, sender=RdsInstance, dispatch_uid="proofs of a deleted instance"
)
