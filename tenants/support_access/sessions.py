"""Issues support sessions, ends them, and follows them on their instances."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from common.clock import database_now
from common.errors import RainboError
from tenants.ghosts import policy
from tenants.models import GhostUser, RdsInstance, SupportOptOut, SupportSession, Tenant
from tenants.models.ghost import GONE, GhostState
from tenants.support_access import admission, assertion, contact_mail, keys, remote, states
from tenants.support_access.admission import Wanted
from tenants.support_access.assertion import Assertion
from tenants.support_access.remote import Answer
from tenants.support_access.states import Withdrawn

AT_ONCE = 500  # sessions that one look asks about
INSTANCES = 32  # that one look asks
CONSTRAINT = "one_open_support_session"


class Refused(RainboError):
    """The session was not opened."""

    kind = "support access"


@dataclass(frozen=True)
class Issued:
    """A session that may be redeemed for a minute, and the form that does it."""

    session: SupportSession
    address: str
    assertion: str = field(repr=False)


def issue(
    user: User,
    tenant: Tenant,
    wanted: Wanted,
    address: str | None,
    record: Callable[[SupportSession], object],
) -> Issued:
    """Open a session of the user in the tenant; all is checked now.

    address: where the request came from. record: writes it down, in the transaction that opens it.
    Raises Refused, and KeyLost. An earlier one of theirs that was not redeemed is ended first.
    """
    instance = tenant.instance
    ghost = admission.ghost_of(user, instance)
    found = [*admission.obstacles(user, tenant, ghost)]
    if found or ghost is None or ghost.remote_id is None:
        raise Refused("; ".join(found))
    now = database_now()
    key = keys.signing_key(now)
    row = _new(user, tenant, ghost.remote_id, wanted, address, now, key.kid)
    _make_room(row)
    now = database_now()
    row.issued_at, row.expires_at = now, now + assertion.VALID
    signed = assertion.sign(_assertion(row), key, now)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            record(row)
    except IntegrityError as error:
        if CONSTRAINT not in str(error):
            raise
        raise Refused("you opened another session in this tenant just now") from error
    return Issued(row, admission.entry_address(instance), signed)


def end(row: SupportSession, by: str) -> SupportSession:
    """End a session now, or have it ended as soon as its instance answers; return it as it is.

    by: who or what ends it. One that is over stays as it is.
    """
    now = database_now()
    _request_ends({row.jti: by}, now)
    row.refresh_from_db()
    if row.closed_at is None:
        _ask([row], now)
        row.refresh_from_db()
    return row


def follow() -> None:
    """Ask the instances about their sessions, and end those that have to end.

    Called periodically; it takes the ones that waited longest. Its time is bounded by the number
    of instances and the limit of each.
    """
    now = database_now()
    rows = _watched(now)
    if not rows:
        return
    withdrawn = _withdrawn(rows)
    reasons = {
        row.jti: why
        for row in rows
        if row.closed_at is None and row.end_requested_at is None
        if (why := states.why_end(row, now, withdrawn))
    }
    _request_ends(reasons, now)
    asked = [row.jti for row in rows]
    _ask(list(SupportSession.objects.filter(jti__in=asked)), now)


def open_sessions() -> Any:
    return SupportSession.objects.filter(closed_at=None)


def _new(
    user: User,
    tenant: Tenant,
    ghost_id: str,
    wanted: Wanted,
    address: str | None,
    now: datetime,
    kid: str,
) -> SupportSession:
    return SupportSession(
        jti=uuid.uuid4(),
        instance_id=tenant.instance.pk,
        instance_name=tenant.instance.name,
        tenant_id=tenant.remote_id,
        tenant_name=tenant.name,
        person_id=user.pk,
        person=user.get_username(),
        ghost_id=ghost_id,
        address=address,
        reason=wanted.reason,
        ticket=wanted.ticket,
        read_only=wanted.read_only,
        session_seconds=wanted.minutes * 60,
        issued_at=now,
        expires_at=now,
        kid=kid,
    )


def _make_room(row: SupportSession) -> None:
    """Contact the instance: it must be able to end the new session, and have no other of theirs.

    Raises Refused. An earlier session that was not redeemed is ended.
    """
    own = open_sessions().filter(person_id=row.person_id, instance_id=row.instance_id)
    earlier = own.filter(tenant_id=row.tenant_id, is_forged=False).first()
    asked = [row] if earlier is None else [row, earlier]
    now = database_now()
    answer = remote.ask(asked, try_to_end=row.jti).get(row.instance_id)
    if answer is None:
        raise Refused(f"{row.instance} was deleted")
    if answer.error is not None:
        raise Refused(str(answer.error)) from answer.error
    if earlier is None:
        return
    _store(earlier, answer, now)
    earlier.refresh_from_db()
    if earlier.closed_at is None and earlier.redeemed_at is None:
        earlier = end(earlier, "replaced by another session")
    if earlier.closed_at is None:
        raise Refused(
            "you have an open session in this tenant already: end it before you open another"
        )


def _assertion(row: SupportSession) -> Assertion:
    return Assertion(
        issuer=admission.issuer(),
        instance_id=row.instance_id,
        ghost_id=row.ghost_id,
        person_id=row.person_id,
        person=row.person,
        tenant_id=row.tenant_id,
        reason=row.reason,
        ticket=row.ticket,
        read_only=row.read_only,
        session_seconds=row.session_seconds,
        jti=row.jti,
    )


def _watched(now: datetime) -> list[SupportSession]:
    """The sessions to ask about, of a bounded number of instances: who waited longest, first."""
    watched = Q(closed_at=None) | Q(expires_at__gt=now - states.WATCHED)
    rows = SupportSession.objects.filter(watched)
    found: list[SupportSession] = []
    instances: set[int] = set()
    for row in rows.order_by(F("asked_at").asc(nulls_first=True), "jti")[:AT_ONCE]:
        if row.instance_id in instances or len(instances) < INSTANCES:
            instances.add(row.instance_id)
            found.append(row)
    return found


def _withdrawn(rows: Sequence[SupportSession]) -> Withdrawn:
    """What is no longer as it was, of what these sessions rely on, in five queries."""
    persons = {row.person_id for row in rows}
    instances = {row.instance_id for row in rows}
    tenants = {row.tenant_id for row in rows}
    may_open: Any = User.objects.with_perm(admission.OPEN, backend=policy.BACKEND)
    may = set(may_open.filter(pk__in=persons).values_list("pk", flat=True))
    may &= set(policy.admins().filter(pk__in=persons).values_list("pk", flat=True))
    opted_out = SupportOptOut.objects.filter(instance_id__in=instances, tenant_id__in=tenants)
    gone = Tenant.objects.filter(
        instance_id__in=instances, remote_id__in=tenants, vanished_at__isnull=False
    )
    ghosts: Any = GhostUser.objects.filter(
        Q(confirmed__in=GONE) | Q(wanted=GhostState.INACTIVE),
        instance_id__in=instances,
        admin_id__in=persons,
    )
    kept = RdsInstance.objects.filter(pk__in=instances, is_active=True, has_ghosts=True)
    return Withdrawn(
        persons=may,
        instances=set(kept.values_list("pk", flat=True)),
        opted_out=set(opted_out.values_list("instance_id", "tenant_id")),
        tenants_gone=set(gone.values_list("instance_id", "remote_id")),
        ghosts_gone=set(ghosts.values_list("instance_id", "remote_id")),
    )


def _request_ends(reasons: dict[UUID, str], now: datetime) -> None:
    """Record that they end before any instance is contacted; the first reason counts."""
    for jti, by in reasons.items():
        rows = SupportSession.objects.filter(jti=jti, closed_at=None, end_requested_at=None)
        rows.update(end_requested_at=now, end_requested_by=by)


def _ask(rows: Sequence[SupportSession], now: datetime) -> None:
    """Ask about these sessions, end those that are requested to end, and store the answers."""
    SupportSession.objects.filter(jti__in=[row.jti for row in rows]).update(asked_at=now)
    ending = {row.jti for row in rows if row.closed_at is None and row.end_requested_at}
    answers = remote.ask(rows, end=ending)
    for row in rows:
        _store(row, answers.get(row.instance_id), now)


def _store(row: SupportSession, answer: Answer | None, now: datetime) -> None:
    """Store what an instance said of one session. answer: None if RAINBO no longer knows it."""
    known = SupportSession.objects.filter(jti=row.jti)
    if answer is None:
        gone = {"closed_at": now, "ended_by": "the instance was deleted from RAINBO"}
        known.filter(closed_at=None).update(**gone)
    elif answer.error is not None:
        known.update(error=str(answer.error))
    else:
        with transaction.atomic():
            locked = known.select_for_update().first()
            if locked is not None:
                fields = states.learned(locked, answer.states.get(row.jti), now)
                for name, value in fields.items():
                    setattr(locked, name, value)
                if locked.redeemed_at is not None and not locked.mail:
                    fields["mail"] = contact_mail.ask_for(locked)
                known.update(**fields)


def end_all(rows: Iterable[SupportSession], by: str) -> None:
    """Have several sessions ended: at the next look, within some seconds."""
    _request_ends({row.jti: by for row in rows}, database_now())
