"""Whose ghost users are ours: the id of this installation, kept, given back, or replaced by hand.

Instances are only read: which installation a ghost user belongs to is written in its row, and no
right of RAINBO's role can change that. So a new database takes the id of the one that was lost.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Max

from activity.log import COMMAND_LINE, record_by
from common.errors import RainboError, UsageError
from common.text import counted, listed
from syncs.errors import ContractBroken
from syncs.transfer.copy_stream import verbatim
from tenants.fleet import connections, contract
from tenants.ghosts.policy import Ghost, GhostOutcome, is_admin_id
from tenants.models import GhostUser, Installation, RdsInstance
from tenants.models.ghost import GONE, GhostState
from tenants.models.installation import installation_id

NAME = "sync_ghost_users"
PURPOSE = "installation"
WATCH = 130.0  # seconds: a live installation checks each instance each minute
POLL = 0.02
SHOWN = 10
FORM = re.compile(r"[0-9a-f]{32}")
T = TypeVar("T")

# pg_stat_activity is read once for a transaction, unless that reading is dropped.
_FORGET = "SELECT pg_stat_clear_snapshot()"
_SESSIONS = """
    SELECT application_name, coalesce(host(client_addr), 'an address that is not shown')
      FROM pg_stat_activity
     WHERE application_name LIKE 'rainbo/%%' AND application_name <> %s
       AND datname = current_database() LIMIT 1"""


class AdoptionRefused(RainboError):
    """Another installation's ghost users can't be adopted now."""

    kind = "adoption"


@dataclass(frozen=True)
class Found:
    """What one instance said. admins: ids that ghosts of the installation name."""

    ghosts: int
    admins: frozenset[int]


@dataclass(frozen=True)
class Adopted:
    """ghosts: how many there are. missing: instances that did not answer, with their errors."""

    former: str
    ghosts: int
    instances: int
    missing: tuple[str, ...]


def adopt(
    key: str,
    reason: str,
    take_over: Collection[int] = (),
    before_watching: Callable[[], object] = lambda: None,
) -> Adopted:
    """Make this database the installation with that id, whose database was lost.

    take_over: people here whose numbers that installation's ghost users name: these become theirs.
    before_watching: called when all else is right, before WATCH seconds are waited.
    Raises UsageError, or AdoptionRefused if that installation may be alive, if this one has ghost
    users of its own, or if no instance has one of that id.
    """
    _check(key, reason)
    _refuse_own_ghosts()
    instances = list(RdsInstance.objects.filter(is_active=True, has_ghosts=True))
    looks = _visit(instances, lambda instance, source: _look(instance, source, key))
    answers = [look.value for look in looks if look.value]
    missing = tuple(str(look.error) for look in looks if look.error)
    ghosts = sum(answer.ghosts for answer in answers)
    if not ghosts:
        raise AdoptionRefused(
            "no ghost user with that id was found on any instance"
            + (f"; {listed(missing, SHOWN)}" if missing else ": check the id")
        )
    numbers = frozenset[int]().union(*(answer.admins for answer in answers))
    _refuse_strangers(numbers, take_over)
    before_watching()
    _refuse_live([look.instance for look in looks if look.value])
    former = installation_id()
    with transaction.atomic():
        _refuse_own_ghosts()
        GhostUser.objects.all().delete()  # refusals; the next run reads what is there
        Installation.objects.update_or_create(pk=1, defaults={"key": key})
        start_numbers(max(numbers, default=0) + 1)
        record_by(
            COMMAND_LINE,
            None,
            None,
            "installation.adopted",
            key,
            before={"installation": former},
            after={"installation": key, "ghost users": ghosts, "reason": reason},
        )
    return Adopted(former, ghosts, len(answers), missing)


def separate(reason: str, first_number: int | None = None) -> str:
    """Make this database an installation of its own, such as one that is a copy of another's.

    The ghost users that it knew are the other's from now on. first_number: of people who are added
    later, so that theirs are no numbers of the other's. Returns the former id.
    """
    if not reason.strip():
        raise UsageError("give a reason: it is recorded")
    former, key = installation_id(), secrets.token_hex(16)
    with transaction.atomic():
        forgotten = GhostUser.objects.all().delete()[0]
        Installation.objects.update_or_create(pk=1, defaults={"key": key})
        if first_number:
            start_numbers(first_number)
        record_by(
            COMMAND_LINE,
            None,
            None,
            "installation.separated",
            key,
            before={"installation": former},
            after={"installation": key, "ghost users left": forgotten, "reason": reason},
        )
    return former


def start_numbers(first: int) -> None:
    """Let the next user that is added have this number, or one after the highest there is."""
    highest = User.objects.aggregate(Max("pk"))["pk__max"] or 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('auth_user', 'id'), greatest(%s, last_value,"
            " %s), false) FROM auth_user_id_seq",
            [first, highest + 1],
        )


def _check(key: str, reason: str) -> None:
    if not FORM.fullmatch(key):
        raise UsageError("an installation's id has 32 characters of 0-9 and a-f")
    if not reason.strip():
        raise UsageError("give a reason: it is recorded")
    if key == installation_id():
        raise UsageError("this database is that installation already")


def _refuse_own_ghosts() -> None:
    settled = (*GONE, GhostState.REFUSED)
    if own := GhostUser.objects.exclude(confirmed__in=settled).count():
        raise AdoptionRefused(
            f"this installation has made, or may have made, {counted(own, 'ghost user')} of its "
            "own, which would be nobody's then: take the permission away from those people, run "
            "sync_ghost_users until they are gone, and adopt after that"
        )


def _refuse_strangers(numbers: Collection[int], take_over: Collection[int]) -> None:
    people = User.objects.filter(pk__in=set(numbers) - set(take_over)).order_by("pk")
    if names := [f"{user.pk} ({user.get_username()})" for user in people]:
        raise AdoptionRefused(
            f"ghost users there were made for people who had the numbers of {listed(names, SHOWN)} "
            "here, and would become theirs. If they are the same people, or you want that, name "
            f"them: --take-over {' '.join(str(user.pk) for user in people)}"
        )


def _refuse_live(instances: Sequence[RdsInstance]) -> None:
    """Refuse if a RAINBO was connected to one of them meanwhile, or if that can't be known."""
    watched = _visit(instances, _session_seen, WATCH)
    if seen := [f"{one.value} on {one.instance}" for one in watched if one.value]:
        raise AdoptionRefused(
            f"RAINBO is connected to the fleet: {listed(seen, SHOWN)}. If it is the other "
            "installation, it is alive and its ghost users are its own. If it is this one, stop "
            "its workers and cron first"
        )
    if unseen := [str(one.error) for one in watched if one.error]:
        raise AdoptionRefused(
            f"whether it is alive can't be seen: {listed(unseen, SHOWN)}. Repeat the command"
        )


def _visit(
    instances: Sequence[RdsInstance],
    act: Callable[[RdsInstance, connections.Connection], T],
    seconds: float = 0,
) -> list[connections.Outcome[T]]:
    """Call it on each instance, which takes so many seconds more than an answer does."""
    return connections.each_instance(
        instances, act, PURPOSE, writes=True, remember=False, limit=seconds + 60
    )


def _look(instance: RdsInstance, source: connections.Connection, key: str) -> Found:
    """Find the ghosts of an installation."""
    statement = contract.text(NAME, instance.schema_group)
    with source.transaction(force_rollback=True):
        everybody = _foreign(source, statement, f"none-{secrets.token_hex(8)}")
        others = _foreign(source, statement, key)
    rest = {ghost.remote_id for ghost in others}
    found = [ghost for ghost in everybody if ghost.remote_id not in rest]
    return Found(
        ghosts=len(found),
        admins=frozenset(int(g.admin_id) for g in found if is_admin_id(g.admin_id)),
    )


def _foreign(source: connections.Connection, statement: str, key: str) -> Sequence[Ghost]:
    """The ghosts of all installations but one, by the statement that is limited to nobody."""
    nobody: dict[str, object] = {name: [] for name in ("ids", "emails", "names", "roles", "only")}
    given = nobody | {"installation": key, "create": False}
    ghosts = [Ghost.of(row) for row in source.execute(verbatim(statement), given).fetchall()]
    if any(ghost.outcome is GhostOutcome.DEACTIVATED for ghost in ghosts):
        raise ContractBroken("limited to nobody (only is empty), it deactivated ghost users")
    return [ghost for ghost in ghosts if ghost.outcome is GhostOutcome.FOREIGN]


def _session_seen(_: RdsInstance, source: connections.Connection) -> str:
    """A session of RAINBO that is open there in WATCH seconds; empty if none is."""
    until = time.monotonic() + WATCH
    while True:
        source.execute(_FORGET)
        if found := source.execute(_SESSIONS, [f"rainbo/{PURPOSE}"]).fetchone():
            return f"{found[0]} from {found[1]}"
        if time.monotonic() > until:
            return ""
        time.sleep(POLL)
