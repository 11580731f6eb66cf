"""Keeps what the last examination of each instance found, for those who look later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction

from common.clock import database_now
from tenants.health.checks import Checked
from tenants.health.findings import Finding, Level
from tenants.models import InstanceExamination, RdsInstance

GRAVEST_FIRST = (Level.ERROR, Level.WARNING, Level.OK)


@dataclass(frozen=True)
class Examined:
    """What was found, the most severe first, and when."""

    at: datetime
    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        return sum(finding.level is level for finding in self.findings)


def remember(checked: Iterable[Checked]) -> None:
    """Keep each instance's findings in place of its last ones; deleted instances have none."""
    at = database_now()
    for one in checked:
        pairs = [[finding.level.value, finding.text] for finding in one.findings]
        try:
            with transaction.atomic():
                InstanceExamination.objects.update_or_create(
                    instance_id=one.instance.pk, defaults={"at": at, "findings": pairs}
                )
        except IntegrityError:  # deleted meanwhile
            continue


def last_of(instance: RdsInstance) -> Examined | None:
    """None when it has never been examined."""
    row = InstanceExamination.objects.filter(pk=instance.pk).first()
    if row is None:
        return None
    found = [Finding(Level(level), text) for level, text in row.findings]
    return Examined(row.at, tuple(sorted(found, key=lambda f: GRAVEST_FIRST.index(f.level))))
