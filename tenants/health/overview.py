"""What the first page shows of each instance: read for all that are shown at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import Q

from common.joint_query import Answers, Question, Questions, Statement, answer, as_model, compiled
from common.text import counted
from syncs.models import Confirmation
from tenants.health import history
from tenants.models import RdsInstance
from tenants.models.instance import Health

CHECKS = 60  # of each instance: the last hour
COUNTED = 2_000  # routes of one instance; more are said to be more
COUNTED_INSTANCES = 6  # of those that are down
WORST_FIRST = (Health.DOWN, Health.REFUSED, Health.DEGRADED, Health.UNKNOWN, Health.HEALTHY)
SUMMARIES, ROUTES = "tenant_summaries", "user_routing"
READ = (
    *("id", "name", "is_active", "is_master", "has_tenants", "has_ghosts"),
    *("health", "last_check_at", "latency_ms", "last_error", "is_replica", "replica_lag_s"),
    *("certificate_ends_at", "ca_ends_at"),
)

# Straight from the unique index on (instance, minute): only what is drawn is read.
_TRENDS = """
    SELECT wanted.id, array_agg(seen.latency_ms ORDER BY seen.minute)
      FROM unnest(%(instances)s::bigint[]) AS wanted (id)
     CROSS JOIN LATERAL (
           SELECT minute, latency_ms FROM instance_checks
            WHERE instance_id = wanted.id ORDER BY minute DESC LIMIT %(checks)s
           ) AS seen
     GROUP BY wanted.id"""
# In the order of the index routes_by_tenant, which ends with the last that is counted.
_ROUTES_OF = """
    SELECT wanted.id, (
           SELECT count(*) FROM (
                  SELECT 1 FROM user_routes
                   WHERE remote_instance_id = wanted.id
                   ORDER BY remote_instance_id, remote_tenant_id LIMIT %(most)s
                  ) AS counted) AS routes
      FROM unnest(%(instances)s::text[]) AS wanted (id)"""


@dataclass(frozen=True)
class Waiting:
    """What waits for instances that are down.

    routes: None where they were not counted. more_routes: there are more than these.
    """

    tenants: int | None
    routes: int | None
    more_routes: bool = False

    def in_words(self, all_routes: int | None = None) -> str:
        """`14 tenants and 3,120 routes wait`; all_routes: when the directory itself is held up."""
        tenants = counted(self.tenants, "tenant")
        if all_routes is not None:
            return f"{tenants} and all {counted(all_routes, 'route')} wait"
        if self.routes is None:
            return f"{tenants} and their routes wait"
        return f"{tenants} and {counted(self.routes, 'route', more=self.more_routes)} wait"


@dataclass(frozen=True)
class Down:
    """An instance that is down. since: by history.streaks_in; None when it never answered.

    refuses: its server answers, and did not accept RAINBO's credentials. checks: that it did not
    answer in a row, counted to 100; None if it is not known.
    """

    pk: int
    label: str
    since: datetime | None
    is_master: bool
    waiting: Waiting
    refuses: bool = False
    checks: int | None = None


@dataclass(frozen=True)
class Fleet:
    """All instances, the worst first, and what is wrong with them."""

    instances: tuple[RdsInstance, ...] = ()
    down: tuple[Down, ...] = ()
    tenants: dict[int, int] | None = None
    all_routes: int | None = None
    has_no_master: bool = False

    @property
    def active(self) -> list[RdsInstance]:
        return [instance for instance in self.instances if instance.is_active]

    @property
    def degraded(self) -> list[RdsInstance]:
        return [instance for instance in self.active if instance.health == Health.DEGRADED]

    @property
    def waiting(self) -> Waiting:
        """What waits for all that are down together."""
        waiting = [down.waiting for down in self.down]
        tenants = [w.tenants for w in waiting if w.tenants is not None]
        routes = [w.routes for w in waiting if w.routes is not None]
        return Waiting(
            tenants=sum(tenants) if tenants else None,
            routes=sum(routes) if routes else None,
            more_routes=len(routes) < len(waiting) or any(w.more_routes for w in waiting),
        )


def ask(_: datetime) -> Questions:
    """The questions about the whole fleet, whose answers `fleet_in` takes."""
    return _ask_fleet()


@cache
def _ask_fleet() -> Questions:
    confirmed = Confirmation.objects.filter(sync__in=(SUMMARIES, ROUTES))
    return {
        "instances": compiled(RdsInstance.objects.values(*READ)),
        "confirmed": compiled(confirmed.values("sync", "target", "rows")),
    }


def fleet_in(answers: Answers) -> Fleet:
    """Return the whole fleet. What waits for instances that are down is read by one more query."""
    instances = sorted((as_model(RdsInstance, row) for row in answers["instances"]), key=_badness)
    kept = [(row["sync"], row["target"], row["rows"]) for row in answers["confirmed"]]
    tenants = {int(target): n for sync, target, n in kept if sync == SUMMARIES}
    found = [n for sync, _, n in kept if sync == ROUTES]
    return Fleet(
        instances=tuple(instances),
        down=_read_down([instance for instance in instances if instance.is_down], tenants),
        tenants=tenants,
        all_routes=max(found, default=None),
        has_no_master=not any(instance.is_master for instance in instances),
    )


def _read_down(down: Sequence[RdsInstance], tenants: dict[int, int]) -> tuple[Down, ...]:
    """Read since when they are down, and what waits for the first of them."""
    if not down:
        return ()
    ids = [instance.pk for instance in down]
    answers = answer(
        {
            "streaks": history.ask_streaks(ids),
            "routes": _ask_routes(ids[:COUNTED_INSTANCES]),
        }
    )
    streaks, routes = history.streaks_in(answers["streaks"]), _routes_in(answers)
    return tuple(
        Down(
            pk=instance.pk,
            label=str(instance),
            since=streaks[instance.pk].since,
            is_master=instance.is_master,
            waiting=_waiting(instance.pk, tenants, routes),
            refuses=instance.health == Health.REFUSED,
            checks=streaks[instance.pk].checks,
        )
        for instance in down
    )


def waits_for(instance: RdsInstance) -> str:
    """Return what waits for an instance that is down, as text; empty when it is up."""
    if not instance.is_down:
        return ""
    rows = Confirmation.objects.filter(
        Q(sync=SUMMARIES, target=str(instance.pk)) | Q(sync=ROUTES)
    ).values_list("sync", "rows")
    kept = dict(rows)
    tenants = {instance.pk: kept[SUMMARIES]} if SUMMARIES in kept else {}
    waiting = _waiting(instance.pk, tenants, routes_of([instance.pk]))
    return f"{waiting.in_words(kept.get(ROUTES) if instance.is_master else None)} for it"


def chosen(instances: Iterable[RdsInstance], term: str) -> list[RdsInstance]:
    """Those whose name has the term in it, or whose id it is."""
    wanted = term.strip().casefold()
    return [i for i in instances if wanted in i.name.casefold() or wanted == str(i.pk)]


def trends(instances: Sequence[RdsInstance]) -> dict[int, list[float | None]]:
    """The latency of each instance's last checks, oldest first; None where it did not answer."""
    parameters = {"instances": [i.pk for i in instances], "checks": CHECKS}
    return dict(_rows(_TRENDS, parameters))


def routes_of(instances: Iterable[int]) -> dict[int, int]:
    """How many routes lead to each instance, counted up to a bound."""
    return _routes_in(answer({"routes": _ask_routes(instances)}))


def _ask_routes(instances: Iterable[int]) -> Question:
    wanted = [str(pk) for pk in instances]
    return Statement(_ROUTES_OF, {"instances": wanted, "most": COUNTED + 1})


def _routes_in(answers: Answers) -> dict[int, int]:
    return {int(row["id"]): row["routes"] for row in answers["routes"]}


def _waiting(pk: int, tenants: dict[int, int], routes: dict[int, int]) -> Waiting:
    found = routes.get(pk)
    return Waiting(
        tenants=tenants.get(pk),
        routes=None if found is None else min(found, COUNTED),
        more_routes=found is not None and found > COUNTED,
    )


def _badness(instance: RdsInstance) -> tuple[bool, int, int]:
    rank = WORST_FIRST.index(Health(instance.health))
    return not instance.is_active, rank, instance.pk


def _rows(statement: str, parameters: dict[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
