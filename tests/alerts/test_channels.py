"""Each kind of channel against a real server that answers as the service does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.core import mail, serializers
from django.core.management import call_command

from alerts import messages, outbox
from alerts.channels import discord, mail_server, registry, slack, webhook
from alerts.channels.result import Result
from alerts.models import Channel, ChannelKind, Content, Delivery, Notice
from common.encryption import CredentialError
from common.errors import UsageError
from common.http import Limits
from syncs.status.problems import Severity
from tests.alerts.rows import KEY, NOW, SECRET, channel, problem, see
from tests.certificates import Authority
from tests.http_servers import Receiver, no_answer, raw_server, receiver

pytestmark = pytest.mark.django_db
HOOK = f"/services/T0/B0/{SECRET}"
WEB = (ChannelKind.SLACK, ChannelKind.DISCORD, ChannelKind.WEBHOOK)
EVIL = "<!channel> <@U1> @everyone & <script>"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]
    settings.RAINBO_CONSOLE_URL = "https://rainbo.example/"


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def content(*found: Any) -> Content:
    """A message about these problems."""
    channel("for the content")
    see(*(found or (problem(text=f"rds2 has been down since 12:00 UTC: {EVIL}"),)))
    notices = list(Notice.objects.select_related("incident"))
    return messages.compose(notices, NOW, personal_data=False)


def send(server: Receiver, kind: ChannelKind) -> Result:
    row = channel(kind=kind, url=server.url(HOOK))
    return registry.send(row, "0000-1", messages.of_test("ops", NOW), NOW)


def send_again(server: Receiver, kind: ChannelKind) -> Result:
    row = Channel.objects.get(kind=kind)
    return registry.send(row, "0000-1", messages.of_test("ops", NOW), NOW)


def test_slack_gets_plain_text_that_mentions_nobody(server: Receiver) -> None:
    row = channel(url=server.url(HOOK))
    assert registry.send(row, "1", content(), NOW).accepted
    body = json.loads(server.received[0].body)
    assert "&lt;!channel&gt; &lt;@\u200dU1&gt; @\u200deveryone &amp; &lt;script&gt;" in body["text"]
    assert body["mrkdwn"] is False


def test_a_name_calls_nobody_and_leads_nowhere_and_forges_no_line(server: Receiver) -> None:
    """Mattermost takes mentions and links from the text, Discord links; both take what is sent."""
    name = "@here ann@x.example [login](https://evil.example) \x1b[2J\u202e `x`\nURGENT: forged"
    text = content(problem(text=f"{name} is down"))
    slack_text = str(slack.payload(text)["text"])
    discord_text = str(discord.payload(text)["content"])
    assert "@\u200dhere" in slack_text
    assert "](" not in slack_text
    assert "\\[login\\](https" in discord_text
    assert "\\`x\\`" in discord_text
    for sent in (slack_text, discord_text, messages.as_text(text)):
        assert not {"\x1b", "\u202e"} & {*sent}
        assert "\nURGENT: forged" not in sent


def test_discord_gets_text_that_mentions_nobody_and_is_short_enough(server: Receiver) -> None:
    row = channel(kind=ChannelKind.DISCORD, url=server.url(HOOK))
    many = [problem(f"instance/{n}/down", text="x" * 390, affected=(str(n),)) for n in range(40)]
    assert registry.send(row, "1", content(*many), NOW).accepted
    body = json.loads(server.received[0].body)
    assert body["allowed_mentions"] == {"parse": []}
    assert len(body["content"]) <= 2_000
    assert "more incidents, which the console lists" in body["content"]


def test_a_webhook_is_signed_as_standard_webhooks_demands(server: Receiver) -> None:
    row = channel(kind=ChannelKind.WEBHOOK, url=server.url("/x"))
    assert registry.send(row, "0000-1", content(), NOW).accepted
    sent = server.received[0]
    signed = b"0000-1." + sent.headers["webhook-timestamp"].encode() + b"." + sent.body
    key = base64.b64decode(KEY.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert sent.headers["webhook-signature"] == f"v1,{expected}"
    assert sent.headers["webhook-id"] == "0000-1"
    assert int(sent.headers["webhook-timestamp"]) == int(NOW.timestamp())
    body = json.loads(sent.body)
    assert (body["type"], body["data"]["incidents"][0]["key"]) == (
        "rainbo.alerts",
        "instance/2/down",
    )


def test_the_signature_of_a_known_case() -> None:
    """Computed by hand from the description of Standard Webhooks."""
    known = webhook.headers(b"k" * 24, "msg_1", 1_700_000_000, b'{"a":1}')
    digest = hmac.new(b"k" * 24, b'msg_1.1700000000.{"a":1}', hashlib.sha256).digest()
    assert known["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_QUFB", "QUFB" * 8, "whsec_!!!", "whsec_é"])
def test_signing_keys_that_are_too_weak_or_no_keys(text: str) -> None:
    with pytest.raises(UsageError, match="whsec_"):
        webhook.decode_key(text)
    assert len(webhook.decode_key(webhook.new_key())) == 32


@pytest.mark.parametrize("kind", WEB)
@pytest.mark.parametrize(
    ("status", "said", "result"),
    [
        (200, "ok", Result(True, "answered 200: ok")),
        (204, "", Result(True, "answered 204")),
        (400, "no_text", Result(False, "answered 400: no_text", is_refused=True)),
        (413, "", Result(False, "answered 413", is_refused=True)),
        (422, "", Result(False, "answered 422", is_refused=True)),
        (401, "", Result(False, "answered 401")),
        (403, "action_prohibited", Result(False, "answered 403: action_prohibited")),
        (404, "no_service", Result(False, "answered 404: no_service", is_gone=True)),
        (410, "", Result(False, "answered 410", is_gone=True)),
        (500, "oops", Result(False, "answered 500: oops")),
    ],
)
def test_every_answer_is_judged_alike(
    server: Receiver, kind: ChannelKind, status: int, said: str, result: Result
) -> None:
    server.reply(status, said.encode())
    assert send(server, kind) == result


@pytest.mark.parametrize("kind", WEB)
def test_too_many_requests_says_how_long_to_wait(server: Receiver, kind: ChannelKind) -> None:
    """By both forms of the header; the outbox then waits that long, if it is longer than usual."""
    row = channel(kind=kind, url=server.url(HOOK))
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=30), usegmt=True)
    for given in ("1800", later):
        server.reply(429, b"slow down", retry_after=given)
        result = registry.send(row, "1", messages.of_test("ops", NOW), NOW)
        assert result.detail == "answered 429: slow down"
        assert result.retry_after is not None
        assert timedelta(minutes=29) < result.retry_after <= timedelta(minutes=30)
        assert registry.wait(1, result) == result.retry_after
    server.reply(429, retry_after="soon")
    assert registry.send(row, "1", messages.of_test("ops", NOW), NOW).retry_after is None


def test_a_web_page_is_no_ok_of_slack(server: Receiver) -> None:
    """Such as the login page of what stands in front of it."""
    server.reply(200, b"<!doctype html><title>Sign in</title>")
    assert "answered with a web page" in send(server, ChannelKind.SLACK).detail
    assert not send_again(server, ChannelKind.SLACK).accepted


def closed(connection: Any, _: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def drip(connection: Any, over: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def nonsense(connection: Any, _: Any) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize("kind", WEB)
@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (closed, "closed the connection before its answer was complete"),
        (no_answer, "did not answer within 0.2 s"),
        (drip, "did not answer completely within 0.5 s"),
        (nonsense, "closed the connection before its answer was complete"),
    ],
)
def test_servers_that_do_not_behave(
    monkeypatch: pytest.MonkeyPatch, kind: ChannelKind, behave: Any, said: str
) -> None:
    monkeypatch.setattr("alerts.channels.result.LIMITS", Limits(0.2, 0.2, 0.5, 2_000))
    with raw_server(behave) as url:
        row = channel(kind=kind, url=f"{url}services/{SECRET}")
        result = registry.send(row, "1", messages.of_test("ops", NOW), NOW)
    assert result == Result(False, f"127.0.0.1 {said}")


@pytest.mark.parametrize("kind", WEB)
def test_a_certificate_of_another_is_not_accepted(kind: ChannelKind, tmp_path: Path) -> None:
    """Signed by nobody whom RAINBO knows, or for another host."""
    with receiver(certified=(Authority.make(), tmp_path)) as server:
        result = send(server, kind)
        assert not server.received
    assert result == Result(False, "127.0.0.1 shows a certificate that RAINBO can't verify")


@pytest.mark.parametrize("kind", WEB)
def test_a_redirect_is_not_followed_and_explained(server: Receiver, kind: ChannelKind) -> None:
    with receiver() as other:
        server.reply(302, location=other.url())
        result = send(server, kind)
        assert not other.received
    assert "a redirect, which is not followed" in result.detail
    assert not result.accepted


@pytest.mark.parametrize("kind", WEB)
def test_nobody_there_is_a_result_and_no_exception(kind: ChannelKind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    row = channel(kind=kind, url=f"http://127.0.0.1:{port}{HOOK}")
    result = registry.send(row, "1", messages.of_test("ops", NOW), NOW)
    assert result == Result(False, "127.0.0.1 refused the connection")


@pytest.mark.parametrize("kind", WEB)
def test_an_address_inside_is_rejected(kind: ChannelKind, settings: Any) -> None:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = []
    row = channel(kind=kind, url="https://169.254.169.254/latest")
    result = registry.send(row, "1", messages.of_test("ops", NOW), NOW)
    assert "private network" in result.detail


def test_an_answer_that_quotes_a_part_of_the_address_is_masked(server: Receiver) -> None:
    """Also of its query, also decoded, and whatever it has for a terminal is shown, not obeyed."""
    row = channel(url=server.url("/hook/x?sig=ab%2Fc1234SIG&id=7#fragment"))
    server.reply(400, b"bad ab%2Fc1234SIG, ab/c1234SIG, token=abcdefgh12345 \x1b[2J")
    sent = registry.send(row, "1", messages.of_test("ops", NOW), NOW)
    assert sent.detail == "answered 400: bad ***, ***, token=*** \\u001b[2J"


def test_an_answer_that_quotes_the_address_is_masked(server: Receiver) -> None:
    server.reply(404, f"Cannot POST {HOOK} ({server.url(HOOK)}), {SECRET}".encode())
    assert SECRET not in send(server, ChannelKind.SLACK).detail


def test_e_mail(settings: Any) -> None:
    settings.EMAIL_HOST, settings.DEFAULT_FROM_EMAIL = "mail.example", "RAINBO <r@x.example>"
    row = channel(kind=ChannelKind.EMAIL, recipients=["a@x.example", "b@x.example"])
    text = content()
    result = registry.send(row, "0000-1", text | {"title": "a\r\nBcc: evil@x.example"}, NOW)
    assert result == Result(True, "accepted for 2 recipients")
    (sent,) = mail.outbox
    assert sent.subject == "a Bcc: evil@x.example"
    assert sent.to == ["a@x.example", "b@x.example"]
    assert sent.message().get_content_type() == "text/plain"
    assert sent.message()["Message-ID"] == "<0000-1@x.example>"


def test_e_mail_without_a_server_says_what_to_set() -> None:
    row = channel(kind=ChannelKind.EMAIL, recipients=["a@x.example"])
    result = registry.send(row, "1", messages.of_test("ops", NOW), NOW)
    assert result == Result(False, "no mail server is configured: set RAINBO_EMAIL_HOST")


class Mailbox:
    """Takes mail, except for one recipient and when it is full."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.answer = "250 OK"

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, to: str, ___: Any) -> str:  # noqa: N802
        if to.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append(envelope.content.decode())
        return self.answer


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    found = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(found, hostname="127.0.0.1", port=port)
    controller.start()
    settings.EMAIL_BACKEND = "alerts.channels.mail_server.Backend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", port, False
    yield found
    controller.stop()


@pytest.mark.parametrize(
    ("to", "answer", "result"),
    [
        ("a@x.example", "250 OK", Result(True, "accepted for 1 recipient")),
        ("nobody@x.example", "250 OK", Result(False, "rejected every recipient (550)")),
        ("a@x.example", "452 mailbox full", Result(False, "answered 452: mailbox full")),
        ("a@x.example", "552 too big", Result(False, "answered 552: too big", is_refused=True)),
        ("a@x.example", "554 spam", Result(False, "answered 554: spam", is_refused=True)),
    ],
)
def test_a_real_mail_server(mailbox: Mailbox, to: str, answer: str, result: Result) -> None:
    mailbox.answer = answer
    row = channel(kind=ChannelKind.EMAIL, recipients=[to])
    sent = registry.send(row, "0000-1", messages.of_test("ops", NOW), NOW)
    assert sent.accepted is result.accepted
    assert sent.detail.endswith(result.detail)
    assert sent.is_refused is result.is_refused
    assert bool(mailbox.taken) is (not to.startswith("nobody"))


def test_a_recipient_whom_the_mail_server_rejects_is_named_on_the_channel(mailbox: Mailbox) -> None:
    row = channel(kind=ChannelKind.EMAIL, recipients=["a@x.example", "nobody@x.example"])
    sent = registry.send(row, "0000-1", messages.of_test("ops", NOW), NOW)
    assert sent.detail == "accepted for 1 recipient, rejected for nobody@x.example (550)"
    see(problem())
    outbox.gather(NOW)
    delivery = outbox.claim(NOW)
    assert delivery is not None
    outbox.settle(delivery, sent, NOW)
    row.refresh_from_db()
    assert (row.last_error, row.failing_since) == ("rejected for nobody@x.example (550)", None)


def drip_greeting(connection: socket.socket, over: threading.Event) -> None:
    """220-, 220-, 220- …: each line comes in time, and none is the last."""
    while not over.wait(0.05):
        connection.sendall(b"220-wait\r\n")


def drip_handshake(connection: socket.socket, over: threading.Event) -> None:
    """The beginning of a TLS record, byte by byte."""
    connection.sendall(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xf0")
    while not over.wait(0.05):
        connection.sendall(b"\x00")


@pytest.mark.parametrize(
    ("drip", "tls"), [(drip_greeting, False), (drip_handshake, True)], ids=["greeting", "TLS"]
)
def test_a_mail_server_that_drips_holds_nobody(
    drip: Any, tls: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_server, "SECONDS", 0.5)
    settings.EMAIL_BACKEND = "alerts.channels.mail_server.Backend"
    settings.EMAIL_USE_SSL, settings.EMAIL_USE_TLS = tls, False
    row = channel(kind=ChannelKind.EMAIL, recipients=["a@x.example"])
    with raw_server(drip, reads=False) as url:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", int(url.rstrip("/").split(":")[2])
        begun = time.monotonic()
        sent = registry.send(row, "0000-1", messages.of_test("ops", NOW), NOW)
    assert time.monotonic() - begun < 5
    assert not sent.accepted
    assert "did not take the message within" in sent.detail


def test_names_of_people_leave_only_on_a_channel_that_is_marked_for_it() -> None:
    leaver = problem(
        "ghosts/leavers",
        Severity.LEAVER_CAN_ENTER,
        text="1 ghost user can enter: ann (3) on rds2, see ann@x.example",
        brief="1 ghost user can enter, see ann@x.example",
    )
    plain = messages.as_text(content(leaver))
    notices = list(Notice.objects.select_related("incident"))
    whole = messages.as_text(messages.compose(notices, NOW, personal_data=True))
    assert "ann" not in plain
    assert "1 ghost user can enter, see (e-mail)." in plain
    assert "ann (3) on rds2, see ann@x.example" in whole


def test_a_message_says_what_since_when_whom_and_what_to_do() -> None:
    text = messages.as_text(content())
    assert text.splitlines()[0] == "RAINBO: An instance is down"
    assert "URGENT: Rds2 has been down since 12:00 UTC" in text
    assert "Alert since 12:00 UTC (0 s). Affects 1 instance and 26 tenants." in text
    assert "What to do: python manage.py check_fleet" in text
    assert "https://rainbo.example/admin/alerts/incident/" in text


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), ""),
        (("1", "2"), "2 instances and 40 tenants"),
        (("connection/17",), "1 connection"),
        (("1", "connection/17", "connection/18"), "1 instance, 2 connections and 14 tenants"),
    ],
)
def test_a_message_counts_whom_it_affects(keys: tuple[str, ...], words: str) -> None:
    text = messages.as_text(content(problem(affected=keys)))
    assert ("Affects" in text) is bool(words)
    assert (f" Affects {words}." if words else "") in text


def test_payloads_are_as_long_as_they_may_be() -> None:
    text = content(problem(text="y" * 4_000)) | {"title": "z" * 5_000}
    assert len(str(slack.payload(text)["text"])) <= slack.LONGEST
    assert len(str(discord.payload(text)["content"])) <= discord.LIMIT


def test_no_secret_of_a_channel_shows(
    server: Receiver, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in logs at any level, nor in errors, rows, serialized data or `dumpdata`."""
    caplog.set_level(logging.DEBUG)
    server.reply(500, f"no /in/{SECRET}".encode())
    row = channel(kind=ChannelKind.WEBHOOK, url=server.url(f"/in/{SECRET}"), level=1)
    see(problem())
    outbox.flush()
    call_command("dumpdata", "alerts", "activity")
    shown = caplog.text + capsys.readouterr().out
    shown += repr(row.__dict__) + str(row) + serializers.serialize("json", [row])
    shown += repr(list(Delivery.objects.values())) + repr(list(Channel.objects.values()))
    assert server.received
    assert SECRET not in shown
    assert KEY not in shown
    assert "answered 500" in shown


def test_an_address_is_of_use_in_its_own_row_alone() -> None:
    one, other = channel("one"), channel("other")
    other.address, other.signing = one.address, one.signing
    for read in (other.read_address, other.read_signing):
        with pytest.raises(CredentialError, match="belongs to another row"):
            read()
    one.host = "evil.example"
    with pytest.raises(CredentialError):
        one.read_signing()
    result = registry.send(other, "1", messages.of_test("ops", NOW), NOW)
    assert not result.accepted
