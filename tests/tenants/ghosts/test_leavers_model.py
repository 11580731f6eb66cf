"""Random histories of admins and instances, compared with a model of who can enter.

The model is `World`: who is an admin, what got in the way of retiring somebody, since when. Each
minute the product does what it does each minute; then the rows of the real servers must agree:
nobody can enter longer than the bound after leaving, unless the instance was unreachable, a run was
killed or a person has to decide, and that is reported. Only time is a stand-in.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group, Permission, User
from django_q.models import Schedule

from common.clock import database_now
from syncs.dispatch import reconcile
from syncs.engine import held, runs
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.models import RunState, SyncRun, SyncSchedule, TargetState, Trigger
from syncs.status.problems import Severity
from tenants.ghosts import owed
from tenants.ghosts.problems import GHOSTS
from tenants.jobs import sync_ghost_users
from tenants.models import RdsInstance
from tests.caches import everything, query
from tests.instances import InstanceFleet
from tests.rows import staff

job: Any = sync_ghost_users  # its parts are replaced

MINUTE = timedelta(minutes=1)
BOUND = 11 * MINUTE  # the slowest retry and the minute in which it is looked for
TOLD = 3 * MINUTE
FLOOR = 3  # deactivations on an instance that no guard holds
MINUTES = 16
QUICK = range(10)
LONG = range(10, int(os.environ.get("HISTORIES", "30")))  # a thousand take an hour

Pair = tuple[int, int]  # an admin and an instance


@dataclass
class World:
    """Who is an admin, and what kept the product from retiring whom, by the model's clock.

    left: since when an admin may not enter. hindered: when something last got into the way of a
    pair, be it a server that lets nobody in or a run that was killed. waiting: pairs that a run
    held for a person. gone: what the product deactivated on each instance, and when.
    """

    now: datetime
    may_enter: set[int] = field(default_factory=set)
    left: dict[int, datetime] = field(default_factory=dict)
    hindered: dict[Pair, datetime] = field(default_factory=dict)
    waiting: set[Pair] = field(default_factory=set)
    gone: dict[int, list[datetime]] = field(default_factory=dict)

    def leave(self, admin: int) -> None:
        self.may_enter.discard(admin)
        self.left[admin] = self.now

    def come_back(self, admin: int) -> None:
        self.may_enter.add(admin)
        for at in (1, 2, 3):
            self.hindered.pop((admin, at), None)

    def look(self) -> None:
        """What the product's look each minute sees: who came back waits for nobody."""
        self.waiting = {pair for pair in self.waiting if pair[0] not in self.may_enter}

    def hinder(self, instance: int) -> None:
        self.hindered.update({(admin, instance): self.now for admin in self.left})

    def allowed_until(self, pair: Pair) -> datetime:
        """Until when somebody who left can enter at most, if nobody has to decide."""
        hindered = self.hindered.get(pair)
        left = self.left[pair[0]]
        return left if hindered is None or hindered < left else hindered + BOUND


class History:
    """One random history; `minute` is what happens in one."""

    def __init__(self, fleet: InstanceFleet, chance: random.Random, open_: ExitStack) -> None:
        self.chance = chance
        self.fleet = fleet
        self.world = World(database_now())
        self.down: set[int] = set()
        self.kill = ""
        self.log: list[str] = []
        self.servers: dict[int, psycopg.Connection] = {
            at.id: open_.enter_context(at.connect()) for at in fleet.instances
        }
        self.maintenance = {
            at.id: open_.enter_context(at.server.connect()) for at in fleet.instances
        }
        group = Group.objects.create(name="support")
        group.permissions.add(Permission.objects.get(codename="impersonate"))
        reconcile.reconcile()
        for _ in range(6):
            self.join()

    # What people and servers do.

    def join(self) -> None:
        user = staff(f"user{User.objects.count()}-{self.chance.random()}")
        if self.chance.random() < 0.5:
            User.objects.filter(pk=user.pk).update(is_superuser=True)
        else:
            user.groups.add(Group.objects.get(name="support"))
        self.world.come_back(user.pk)

    def leave(self) -> None:
        there = sorted(self.world.may_enter)
        many = min(len(there), self.chance.choice((1, 1, 1, 2, 4)))
        for pk in self.chance.sample(there, k=many):
            user = User.objects.get(pk=pk)
            way = self.chance.choice(WAYS)
            self.log.append(f"{pk} leaves by {way.__name__}")
            self.world.leave(pk)
            way(user)

    def come_back(self) -> None:
        there = User.objects.filter(pk__in=self.world.left).exclude(pk__in=self.world.may_enter)
        for pk in list(there.order_by("pk").values_list("pk", flat=True))[:1]:
            User.objects.filter(pk=pk).update(is_active=True, is_staff=True, is_superuser=True)
            self.world.come_back(pk)

    def go_down(self) -> None:
        self.open_door(self.chance.choice((1, 2, 3)), is_open=False)

    def come_up(self) -> None:
        for number in sorted(self.down)[:1]:
            self.open_door(number, is_open=True)

    def open_door(self, number: int, *, is_open: bool) -> None:
        database = self.fleet[number].database
        self.maintenance[number].execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS {is_open}")
        self.down = self.down - {number} if is_open else self.down | {number}

    def be_killed(self) -> None:
        self.kill = self.chance.choice(("each_instance", "_publish"))

    def switch(self) -> None:
        """Disable an instance that is enabled, or the other way round; never the master."""
        row = RdsInstance.objects.get(pk=self.chance.choice((2, 3)))
        RdsInstance.objects.filter(pk=row.pk).update(is_active=not row.is_active)

    def night(self) -> None:
        self.execute(runs.request("ghost_users", Options(), Trigger.SCHEDULE))

    def die_at_night(self) -> None:
        """What a run has written is not recorded."""
        self.join()
        self.come_back()
        self.kill = "_publish"
        self.night()

    def one_admin(self) -> None:
        only = (str(self.chance.choice(sorted({*self.world.may_enter, *self.world.left}))),)
        with suppress(IndexError):
            self.execute(runs.request("ghost_users", Options(only=only), Trigger.COMMAND))

    def accept(self) -> None:
        for run in held.waiting("ghost_users")[:1]:
            options = Options(accept_held=run.pk, reason="they left")
            self.execute(runs.request("ghost_users", options, Trigger.BUTTON, "ann"))

    def discard(self) -> None:
        for run in held.waiting("ghost_users")[:1]:
            held.discard(run.pk, "ann", "not now")

    def replan(self) -> None:
        SyncSchedule.objects.filter(sync="ghost_users").update(
            paused_until=self.chance.choice((None, database_now() + MINUTE))
        )
        rows = Schedule.objects.filter(name="ghost_users")
        rows.update(cron=self.chance.choice(("0 2 * * *", "*/5 * * * *", "0 0 1 1 *")))

    def a_day_passes(self) -> None:
        self.tick()  # the product looked meanwhile
        self.world.now += timedelta(hours=25)

    EVENTS = (
        *(("leave", 6), ("come_back", 3), ("join", 1), ("go_down", 2), ("come_up", 3)),
        *(("be_killed", 2), ("switch", 1), ("night", 2), ("one_admin", 1), ("accept", 2)),
        *(("die_at_night", 2), ("discard", 1), ("replan", 1), ("a_day_passes", 1)),
    )

    # What the product does each minute, and what must then be true.

    def minute(self) -> None:
        self.world.now += MINUTE
        names, weights = zip(*self.EVENTS, strict=True)
        for name in self.chance.choices(names, weights, k=self.chance.choice((0, 1, 1, 2))):
            self.log.append(f"{self.world.now:%H:%M} {name}")
            getattr(self, name)()
        self.tick()

    def tick(self) -> None:
        self.world.look()
        owed.retire_leavers()
        for record in SyncRun.objects.filter(state=RunState.QUEUED).order_by("pk"):
            self.execute(record)
        for number in self.down:
            self.world.hinder(number)
        self.check()

    def execute(self, record: SyncRun) -> None:
        killed, before = self.kill, self.active()
        try:
            runs.execute(record)
        except SystemExit:
            self.kill = ""
            SyncRun.objects.filter(pk=record.pk).update(state=RunState.LOST)
            for number in (1, 2, 3):
                self.world.hinder(number)
        record.refresh_from_db()
        self.log.append(
            f"  run {record.pk} {record.options} {record.state} {killed} {record.error}"
        )
        for admin, instance in before - self.active():
            if admin not in self.world.may_enter:
                self.world.gone.setdefault(instance, []).append(self.world.now)
        for part in record.targets.filter(state=TargetState.HELD):
            self.check_held(record, int(part.target))

    def check_held(self, record: SyncRun, instance: int) -> None:
        """Only what is many is held: now, or with what went in a day."""
        changes = record.held_changes.filter(target=str(instance))
        pairs = {(int(admin), instance) for admin in changes.values_list("source_id", flat=True)}
        since = self.world.now - timedelta(hours=24)
        lately = [at for at in self.world.gone.get(instance, []) if at > since]
        assert len(pairs) + len(lately) > FLOOR, self.story(everything(record))
        self.world.waiting |= {pair for pair in pairs if pair[0] not in self.world.may_enter}

    def active(self) -> set[Pair]:
        """Who can enter which instance, by its own rows."""
        return {
            (int(admin), number)
            for number, server in self.servers.items()
            for (admin,) in server.execute(
                "SELECT rainbo_admin_id FROM users WHERE status = 'Active'"
            )
        }

    def check(self) -> None:
        world = self.world
        can_enter = {pair for pair in self.active() if pair[0] not in world.may_enter}
        told = self.told()
        for pair in sorted(can_enter):
            if pair not in world.waiting:
                assert world.now <= world.allowed_until(pair), self.story(f"{pair} can enter")
            if world.now > world.left[pair[0]] + TOLD:
                assert str(pair[1]) in told, self.story(f"{pair} is not reported")

    def told(self) -> tuple[str, ...]:
        found = GHOSTS.judge(GHOSTS.read_alone(self.world.now), ())
        leaver = [p for p in found if p.severity is Severity.LEAVER_CAN_ENTER]
        return leaver[0].affected if leaver else ()

    def end(self) -> None:
        """All is well again, and a person accepts what is held: nothing that was owed is left."""
        self.kill = ""
        for number in (1, 2, 3):
            self.open_door(number, is_open=True)
        self.night()
        self.accept()
        for run in held.waiting("ghost_users"):
            held.discard(run.pk, "ann", "nothing of it is left")
        for _ in range(2):
            self.world.now += BOUND
            self.tick()
        enabled = RdsInstance.objects.filter(is_active=True).values_list("pk", flat=True)
        expected = {(admin, number) for admin in self.world.may_enter for number in enabled}
        found = {pair for pair in self.active() if pair[1] in enabled}
        assert found == expected, self.story("they differ")
        assert {pk for pk, _ in self.active()} <= self.world.may_enter, self.story("some remain")
        assert not owed.find().exists(), self.story("something is owed")
        assert not self.told(), self.story("a problem is reported")
        assert not SyncRun.objects.filter(state=RunState.QUEUED).exists()

    def story(self, why: str) -> str:
        return "\n".join([why, *self.log])


def by_update(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def by_save(user: User) -> None:
    user.is_staff = False
    user.save()


def by_rights(user: User) -> None:
    query("DELETE FROM auth_user_groups WHERE user_id = %s", user.pk)
    query("UPDATE auth_user SET is_superuser = false WHERE id = %s", user.pk)


def by_deletion(user: User) -> None:
    user.delete()


def by_sql_deletion(user: User) -> None:
    query("DELETE FROM auth_user_groups WHERE user_id = %s", user.pk)
    query("DELETE FROM auth_user WHERE id = %s", user.pk)


WAYS: tuple[Callable[[User], None], ...] = (
    *(by_update, by_save, by_rights),
    *(by_deletion, by_sql_deletion),
)


@pytest.fixture
def history(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[History]:
    with ExitStack() as open_:
        made = History(registered, random.Random(request.param), open_)
        monkeypatch.setattr(owed, "database_now", lambda: made.world.now)
        monkeypatch.setattr(Run, "now", lambda _: made.world.now)
        for place, name in ((job.connections, "each_instance"), (job, "_publish")):
            monkeypatch.setattr(place, name, dying(made, name, getattr(place, name)))
        made.night()
        yield made
        for number in sorted(made.down):
            made.open_door(number, is_open=True)


def dying(history: History, name: str, act: Callable[..., object]) -> Callable[..., object]:
    """The function, unless the history has the process killed there."""

    def act_or_die(*args: object, **options: object) -> object:
        if history.kill == name:
            raise SystemExit
        return act(*args, **options)

    return act_or_die


def live(history: History) -> None:
    for _ in range(MINUTES):
        history.minute()
    history.end()


@pytest.mark.parametrize("history", QUICK, indirect=True)
def test_nobody_can_enter_longer_than_the_bound_after_leaving(history: History) -> None:
    live(history)


@pytest.mark.soak
@pytest.mark.parametrize("history", LONG, indirect=True)
def test_nobody_can_enter_longer_in_many_histories(history: History) -> None:
    live(history)
