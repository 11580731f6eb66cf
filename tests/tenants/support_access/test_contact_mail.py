"""The mail to a tenant's contact, on a real SMTP server: once, and only where it is switched on."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.db import transaction
from django.db.models import F
from django.test import Client
from pytest_django import Settings

from alerts import channel_problems, requested_mail
from alerts.channel_problems import CHANNELS
from alerts.models import RequestedMail
from alerts.outbox import CLAIM
from common.clock import database_now
from common.errors import UsageError
from syncs import hooks
from syncs.engine import pruning
from tenants.fleet import contact_mail_text, registration
from tenants.fleet.registration import InstanceInput
from tenants.models import RdsInstance, Tenant
from tenants.support_access import contact_mail, sessions
from tenants.support_access.admission import Wanted
from tests.instances import InstanceFleet
from tests.pages import text_of
from tests.rows import staff
from tests.tenants.support_access.test_sessions import ISSUER, REASON, Place

CONTACT = "boss@acme.example"


class Server:
    """An SMTP server; `answer` is what it says to a message, and `seen` what it got."""

    def __init__(self) -> None:
        self.seen: list[EmailMessage] = []
        self.to: list[list[str]] = []
        self.answer = "250 Ok"

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802
        content: bytes = envelope.original_content
        self.seen.append(email.message_from_bytes(content, policy=email.policy.default))
        self.to.append(envelope.rcpt_tos)
        return self.answer


@pytest.fixture
def smtp(settings: Settings) -> Iterator[Server]:
    server = Server()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = Controller(server, hostname="127.0.0.1", port=port)
    running.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.DEFAULT_FROM_EMAIL = "RAINBO <rainbo@example.com>"
    yield server
    running.stop()


@pytest.fixture
def place(set_up: InstanceFleet, settings: Settings) -> Place:
    settings.RAINBO_CONSOLE_URL = ISSUER
    place = Place(set_up)
    Tenant.objects.filter(pk=place.tenant.pk).update(contact_email=CONTACT)
    return place


def switch_on(text: str = "") -> None:
    RdsInstance.objects.filter(pk=2).update(support_mail=True, support_mail_text=text)


def enter(place: Place, reason: str = REASON) -> sessions.Issued:
    issued = place.issue(Wanted(reason, "SUP-7"))
    assert place.enter(issued)
    sessions.follow()
    return issued


def test_the_contact_gets_one_mail_with_the_reason(place: Place, smtp: Server) -> None:
    switch_on()
    issued = place.issue()
    sessions.follow()
    requested_mail.flush()
    assert not smtp.seen, "nobody has entered yet"
    place.enter(issued)
    for _ in range(3):
        sessions.follow()
        requested_mail.flush()
    (message,), (to,) = smtp.seen, smtp.to
    assert (to, message["To"], message["Subject"]) == ([CONTACT], CONTACT, "Support entered Acme")
    body = message.get_content()
    for words in (f"Reason: {REASON}", "Who: ann", "Ticket: SUP-7", "Access: read only"):
        assert words in body
    assert "{" not in body
    assert message["Auto-Submitted"] == "auto-generated"
    assert place.stored(issued).mail == contact_mail.ASKED
    sessions.end(issued.session, "ann")
    requested_mail.flush()
    assert len(smtp.seen) == 1


def test_nothing_leaves_unless_its_instance_has_it_on(place: Place, smtp: Server) -> None:
    RdsInstance.objects.exclude(pk=2).update(support_mail=True)
    issued = enter(place)
    switch_on()  # for those who enter from now on
    sessions.follow()
    requested_mail.flush()
    assert place.stored(issued).mail == contact_mail.OFF
    assert (smtp.seen, RequestedMail.objects.count()) == ([], 0)


@pytest.mark.parametrize(
    "address",
    [
        *(None, "", "boss", "a@b.c, x@evil.example", "boss@acme.example\nBcc: x@evil.example"),
        *("<boss@acme.example>", "böss@acme.example"),
    ],
)
def test_a_contact_that_has_no_address_gets_none(
    place: Place, smtp: Server, client: Client, address: str | None
) -> None:
    switch_on()
    Tenant.objects.filter(pk=place.tenant.pk).update(contact_email=address)
    issued = enter(place)
    requested_mail.flush()
    assert (smtp.seen, place.stored(issued).mail) == ([], contact_mail.NO_ADDRESS)
    client.force_login(staff("root", is_superuser=True))
    url = f"/admin/tenants/supportsession/{issued.session.pk}/change/"
    assert contact_mail.NO_ADDRESS in text_of(client.get(url))


def test_what_people_write_is_text_and_nothing_else(place: Place, smtp: Server) -> None:
    """No second pass over what was put in, and no header of its own."""
    switch_on("{reason} / {tenant} / {ticket}")
    Tenant.objects.filter(pk=place.tenant.pk).update(name="Acme\r\nBcc: x@evil.example {person}")
    enter(place, "Look at {ticket} <b>now</b> %s é漢")
    requested_mail.flush()
    (message,) = smtp.seen
    assert smtp.to == [[CONTACT]]
    assert message["Bcc"] is None
    assert message["Subject"] == "Support entered Acme Bcc: x@evil.example {person}"
    assert message.get_content_type() == "text/plain"
    assert "Look at {ticket} <b>now</b> %s é漢 / Acme" in message.get_content()
    assert message.get_content().rstrip().endswith("/ SUP-7")


def test_a_server_that_fails_gets_it_again_with_the_same_id(place: Place, smtp: Server) -> None:
    switch_on()
    enter(place)
    smtp.answer = "451 later"
    requested_mail.flush()
    requested_mail.flush()
    mail = RequestedMail.objects.get()
    assert (mail.attempts, mail.sent_at) == (1, None)
    assert "answered 451: later" in mail.error
    (problem,) = channel_problems.judge(CHANNELS.read_alone(database_now()))
    assert "1 mail to contacts of tenants can't be sent" in problem.text
    smtp.answer = "250 Ok"
    RequestedMail.objects.update(not_before=F("not_before") - timedelta(minutes=2))
    requested_mail.flush()
    requested_mail.flush()
    ids = [message["Message-ID"] for message in smtp.seen]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert RequestedMail.objects.get().sent_at is not None
    assert not [*channel_problems.judge(CHANNELS.read_alone(database_now()))]


def test_who_claimed_it_and_died_is_followed(place: Place, smtp: Server) -> None:
    switch_on()
    enter(place)
    now = database_now()
    assert requested_mail.claim(now) is not None
    assert requested_mail.claim(now) is None, "another process sends it at this moment"
    late = requested_mail.claim(now + CLAIM)
    assert late is not None
    assert late.attempts == 2


def test_after_two_days_it_is_given_up(place: Place, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    switch_on()
    enter(place)
    RequestedMail.objects.update(created_at=database_now() - timedelta(days=2))
    requested_mail.flush()
    mail = RequestedMail.objects.get()
    assert mail.given_up_at is not None
    assert "set RAINBO_EMAIL_HOST" in mail.error
    pruning.prune(database_now(), None)
    assert RequestedMail.objects.exists()
    pruning.prune(database_now() + timedelta(days=31), None)
    assert not RequestedMail.objects.exists()


def test_one_that_could_not_be_stored_is_asked_for_again(
    place: Place, smtp: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the redemption is known all the same."""
    switch_on()

    def fail(_: hooks.MessageRequest) -> None:
        with transaction.atomic():
            RequestedMail.objects.create(key="half")
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(hooks.message_requested, "_receivers", [fail])
        issued = enter(place)
        assert (place.stored(issued).redeemed_at is None, place.stored(issued).mail) == (False, "")
    sessions.follow()
    requested_mail.flush()
    assert [mail.key for mail in RequestedMail.objects.all()] == [f"support/{issued.session.pk}"]
    assert len(smtp.seen) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Hello", "no {reason}"),
        ("{reason}" * 501, "4,008 characters"),
        ("{reason} {person.password}", "{person.password}"),
        ("{reason} {}", "{}"),
    ],
)
def test_a_text_is_checked_before_it_is_stored(place: Place, text: str, why: str) -> None:
    with pytest.raises(UsageError, match="the text has") as caught:
        registration.change(2, InstanceInput({"support_mail_text": text}, check=False))
    assert why in str(caught.value)
    assert contact_mail_text.problem_of(contact_mail_text.TEXT) == ""
