"""How long the rows of each table are kept: the rules that delete, and why other tables stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.apps import apps
from django.db.models import Model

from rainbo.settings import env
from syncs.engine import pruning
from syncs.engine.pruning import Rule

# By model; each table without a rule needs its reason here, which a test checks.
STAYS: Mapping[str, str] = {
    "activity.Activity": "the audit log: it is written once and never deleted",
    "admin.LogEntry": "not used: the activity has it",
    "alerts.Channel": "until it is deleted",
    "alerts.Rule": "one for each rule of the code that people changed",
    "api.ApiToken": "until they are deleted; a few for each program",
    "auth.Group": "until they are deleted",
    "auth.Group_permissions": "until they are deleted",
    "auth.Permission": "one for each permission of the code",
    "auth.User": "until they are deleted",
    "auth.User_groups": "until they are deleted",
    "auth.User_user_permissions": "until they are deleted",
    "axes.AccessFailureLog": "not used: the activity has it",
    "axes.AccessLog": "not used: the activity has it",
    "contenttypes.ContentType": "one for each table",
    "django_q.OrmQ": "until a worker has taken them",
    "django_q.Schedule": "one for each schedule",
    "integrations.CatalogueModel": "every model that a catalogue ever had, with its connection",
    "integrations.Connection": "until it is deleted",
    "integrations.PriceChange": "the prices of each model as they ever were, with its connection",
    "rainbo.Authenticator": "one for each person",
    "rainbo.RecoveryCodes": "ten for each person",
    "rainbo.RoleGrant": "one for each permission of a role",
    "syncs.BucketDigest": "what is known now of each instance",
    "syncs.Confirmation": "one for each sync and instance",
    "syncs.Lease": "one for each sync",
    "syncs.Periodic": "one for each periodic function",
    "syncs.SyncSchedule": "one for each schedule",
    "syncs.WithheldRow": "what is withheld now",
    "tenants.ApplicationSecret": "one for each instance",
    "tenants.GhostUser": "one for each person and instance, as long as both are there",
    "tenants.InstanceExamination": "one for each instance",
    "tenants.Installation": "one",
    "tenants.RdsInstance": "until it is deleted",
    "tenants.ScramKeys": "one for each role and server, until its instance is changed",
    "tenants.SearchKeys": "one",
    "tenants.SupportKey": "each key that ever signed",
    "tenants.SupportOptOut": "until it is removed",
    "tenants.Tenant": "each tenant that there ever was, until its instance is deleted",
    "tenants.UserRoute": "what the directory has now",
}


def rules_of(model: type[Model]) -> list[Rule]:
    label = model._meta.label
    return [rule for rule in pruning.all_rules() if label in rule.tables]


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield table, rows, how long, and from when on, of each table; what goes comes first."""
    models = {m._meta.db_table: m for m in apps.get_models(include_auto_created=True) if _own(m)}
    ordered = sorted(models)
    for table in ordered:
        for rule in rules_of(models[table]):
            yield f"`{table}`", rule.what, _time(rule), rule.since
    for table in ordered:
        if not rules_of(models[table]):
            yield f"`{table}`", "all", "not deleted by age", STAYS[models[table]._meta.label]


def _own(model: type[Model]) -> bool:
    return not model._meta.proxy


def _time(rule: Rule) -> str:
    if not rule.setting:
        return "–"
    return f"{env.numbers[rule.setting]:,} days, `{rule.setting}`"
