"""Apprise as it really behaves: each trap that was met, against a server that plays the services.

Only the hosts are led elsewhere: the package, the process it runs in and what it sends are real.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from activity.models import Activity
from alerts import messages, outbox
from alerts.channels import apprise, registry
from alerts.channels.apprise_services import SERVICES, check_url
from alerts.channels.result import Result
from alerts.models import Channel, ChannelKind, Content, Delivery, Notice
from common.errors import UsageError
from tests.alerts.rows import NOW, SECRET, channel, problem, see
from tests.http_servers import Receiver, no_answer, raw_server, receiver

pytestmark = pytest.mark.django_db
PROGRAM = str(Path(__file__).with_name("apprise_elsewhere.py"))
CHANNELS = "/admin/alerts/channel/"
BOT = f"123456789:AA{SECRET}AAAAAAAAAAAAAAAAAAAAAAAAA"
TELEGRAM = f"tgram://{BOT}/-1001"
HEX, GUID = "a" * 32, "aaaaaaaa-bbbb-cccc-dddd-aaaaaaaaaaaa"
URLS = {
    "dingtalk": f"dingtalk://{HEX}",
    "firehydrant": f"firehydrant://{HEX}",
    "gchat": "gchat://space/key/token",
    "ilert": f"ilert://{HEX}",
    "incidentio": f"incidentio://source1/{HEX}",
    "jira": f"jira://{GUID}/?priority=p1",
    "lark": f"lark://{HEX}",
    "opsgenie": f"opsgenie://{GUID}/?region=eu",
    "pagerduty": f"pagerduty://{HEX}@{HEX}?region=eu",
    "pagertree": "pagertree://int_abcdefghijk",
    "pbul": f"pbul://{HEX}",
    "pover": f"pover://{'u' * 30}@{'t' * 30}?priority=1",
    "prowl": f"prowl://{'a' * 40}",
    "signl4": f"signl4://{HEX}",
    "spike": f"spike://{HEX}",
    "splunk": f"splunk://route@{HEX}",
    "squadcast": f"squadcast://{HEX}?region=eu",
    "tgram": f"{TELEGRAM}?topic=5",
    "threema": "threema://*GATEWAY@secret123/ABCDEFGH",
    "twilio": f"twilio://AC{HEX}:{HEX}@15551234567/15557654321",
    "victorops": f"victorops://route@{HEX}",
    "webex": f"webex://{'w' * 80}",
    "workflows": f"workflows://prod-01.westeurope.logic.azure.com:443/{HEX}/{HEX}",
    "wxteams": f"wxteams://{'w' * 80}",
}
CONTENTED = json.dumps(  # what makes every one of them content
    {"ok": True, "errcode": 0, "code": 0, "status": 1, "result": {}, "requestId": "1"}
).encode()
EVIL = "<!channel> <@U1> @everyone @here <users/all> <script>"


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as found:
        found.reply(200, CONTENTED)
        yield found


@pytest.fixture
def elsewhere(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    lead_to(monkeypatch, server.url())
    return server


def lead_to(monkeypatch: pytest.MonkeyPatch, url: str, *more: str) -> None:
    monkeypatch.setattr(apprise, "COMMAND", (sys.executable, "-I", PROGRAM, url, *more))


def row_of(url: str = TELEGRAM, **fields: Any) -> Channel:
    return channel(kind=ChannelKind.APPRISE, url=url, **fields)


def send(url: str = TELEGRAM, content: Content | None = None) -> Result:
    return registry.send(row_of(url), "0000-1", content or messages.of_test("ops", NOW), NOW)


def content_of(*found: Any) -> Content:
    channel("for the content")
    see(*found)
    notices = list(Notice.objects.select_related("incident"))
    return messages.compose(notices, NOW, personal_data=False)


def test_each_service_is_reached_at_its_own_hosts_alone(server: Receiver) -> None:
    """All in one process. Nothing of Apprise's own, no picture and no host of others is in it."""
    assert set(URLS) == set(SERVICES)
    jobs = []
    for url in URLS.values():
        service = check_url(url)
        job = {"hosts": service.hosts, "ca": True, "seconds": 30}
        job["url"] = apprise._with_identity(url, service, "0000-1")
        jobs.append(job | {"title": "RAINBO: title", "body": "its body", "type": "warning"})
    command = [sys.executable, "-I", PROGRAM, server.url(), "5", "each"]
    ended = subprocess.run(
        command, input=json.dumps(jobs).encode(), capture_output=True, check=True
    )
    results = dict(zip(URLS, json.loads(ended.stdout), strict=True))
    assert {name: found["status"] for name, found in results.items()} == dict.fromkeys(
        URLS, "SUCCESS"
    )
    assert {found["recipients"] for found in results.values()} == {1}
    posts = [sent for sent in server.received if sent.method == "POST"]
    assert len(posts) == len(URLS)
    for service, sent in zip(map(check_url, URLS.values()), posts, strict=True):
        meant = sent.headers["x-meant-for"]
        assert any(meant.endswith(host) for host in service.hosts), meant
        whole = f"{sent.path} {sent.body.decode()} {sent.headers}".replace("+", " ")
        assert "its body" in whole.replace("%20", " ")
        assert "apprise" not in whole.lower()
        assert "github" not in whole.lower()
        # else those of one title, such as "An instance is down", would be one alert there
        assert not service.identity or "0000-1" in whole, service.title


@pytest.mark.parametrize(
    ("status", "said", "accepted"),
    [
        (200, CONTENTED, True),
        (404, b'{"ok":false,"description":"chat not found"}', False),
        (500, b"<html>", False),
    ],
)
def test_an_answer_is_accepted_or_refused_and_never_an_exception(
    elsewhere: Receiver, status: int, said: bytes, accepted: bool
) -> None:
    """notify() gives an object that is neither True nor False: its status is what counts. A
    refusal is never "gone": Apprise does not say whether it was the recipient or the service."""
    elsewhere.reply(status, said)
    words = "accepted it" if accepted else f"did not accept it (it answered {status})"
    assert send() == Result(accepted, f"Telegram {words}")


def test_how_long_to_wait_is_taken_from_the_answer(elsewhere: Receiver) -> None:
    """Apprise drops Retry-After, and some of its services send again at once."""
    elsewhere.reply(429, b"slow down", retry_after="7")
    result = send()
    assert result.retry_after == timedelta(seconds=7)
    assert len(elsewhere.received) == 1


def test_no_redirect_is_followed(elsewhere: Receiver) -> None:
    """Apprise makes a GET of it, and takes the login page at its end for a success."""
    with receiver() as other:
        elsewhere.reply(302, location=other.url())
        assert send() == Result(False, "Telegram did not accept it (it answered 302)")
        assert not other.received


def test_who_does_not_answer_is_a_result_and_takes_its_time_limit_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody there; no answer; a drip that is slower than every limit but that of the process."""
    lead_to(monkeypatch, "http://127.0.0.1:1/")
    assert send() == Result(False, "Telegram did not accept it (no answer came)")
    Channel.objects.all().delete()
    with raw_server(no_answer) as url:
        lead_to(monkeypatch, url, "0.3")
        assert send() == Result(False, "Telegram did not accept it (no answer came)")
    Channel.objects.all().delete()

    def drip(connection: Any, over: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not over.wait(0.1):
            connection.sendall(b" ")

    monkeypatch.setattr(apprise, "SECONDS", 2)
    with raw_server(drip) as url:
        lead_to(monkeypatch, url, "1")
        started = time.monotonic()
        assert send() == Result(False, "Telegram did not answer within 2 s")
        assert time.monotonic() - started < 10


def test_a_host_inside_is_not_reached_even_if_the_name_resolves_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Apprise has no such guard. The service's own name resolves to a server of ours here."""
    connected: list[object] = []
    with raw_server(lambda connection, _: connected.append(connection)) as url:
        lead_to(monkeypatch, url, "2", "really")
        assert send() == Result(False, "Telegram did not accept it (no answer came)")
        assert not connected


def test_what_is_quoted_calls_nobody_and_is_cut(elsewhere: Receiver) -> None:
    many = [problem(f"instance/{n}/down", text=f"{EVIL} {'x' * 300}") for n in range(20)]
    assert send(URLS["lark"], content_of(*many)).accepted
    text = json.loads(elsewhere.received[0].body)["content"]["text"]
    assert len(text) <= apprise.LONGEST + 100  # of the marks inside quoted names
    assert "more incidents, which the console lists" in text
    for call in ("<!", "<@", "@everyone", "@here", "<users", "<script"):
        assert call not in text
    assert "everyone" in text


def test_a_message_that_has_only_a_title_is_sent_all_the_same(elsewhere: Receiver) -> None:
    content = {"title": "RAINBO: title", "incidents": [], "console": ""}
    assert send(TELEGRAM, content).accepted
    assert "RAINBO: title" in json.loads(elsewhere.received[0].body)["text"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("json://127.0.0.1/x", "the kind Webhook"),
        ("slack://A/B/C", "the kind of that name"),
        ("mailtos://a:b@x.example", "the kind E-mail"),
        ("ntfys://10.0.0.7/x", "not among the services with fixed hosts"),
        ("matrix://user:pass@host/#room", "not among"),
        ("syslog://", "no URL of Apprise"),
        ("file:///etc/passwd", "not among"),
        ("https://api.telegram.org/x", "not among"),
        ("tgram", "no URL of Apprise"),
        (f"{TELEGRAM} json://127.0.0.1", "no URL of Apprise"),
        (f"{TELEGRAM}\njson://127.0.0.1", "no URL of Apprise"),
        (f"{TELEGRAM}?redirect=yes", "may have topic="),
        (f"{TELEGRAM}?verify=no", "may have"),
        (f"{TELEGRAM}?template=/etc/passwd", "may have"),
        (f"{TELEGRAM}?topic=5&%74emplate=/etc/passwd", "may have"),
        (f"{TELEGRAM}?topic=5?template=/etc/passwd", "may have"),
        (f"{URLS['workflows']}?template=http://10.0.0.1", "may have pa=, route="),
        ("workflows://evil.example/a/b", "must end with .logic.azure.com"),
        ("workflows://evil.logic.azure.com.evil.example/a/b", "must end with"),
        ("workflows://x.logic.azure.com:8443/a/b", "must end with"),
        ("workflows://[::1/a/b", "must end with"),
    ],
)
def test_only_fixed_hosts_are_taken_when_it_is_saved_and_when_it_is_sent(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setattr(apprise, "COMMAND", ("/nonexistent",))  # it does not come to that
    data = {"name": "ops", "enabled": "on", "level": "2", "per_hour": "20", "new_address": url}
    answer = admin_client.post(f"{CHANNELS}add/?kind=apprise", data)
    (error,) = answer.context["adminform"].form.errors["new_address"]
    assert words in error
    assert not Channel.objects.exists()
    assert words in send(url).detail


def test_the_process_refuses_other_hosts_whatever_its_url_leads_to(server: Receiver) -> None:
    """The second lock, should Apprise once send elsewhere than it does now."""
    job = {"url": TELEGRAM, "hosts": ["api.example"], "ca": True, "seconds": 20}
    job |= {"title": "x", "body": "y", "type": "info"}
    command = [sys.executable, "-I", PROGRAM, server.url(), "5"]
    ended = subprocess.run(command, input=json.dumps(job).encode(), capture_output=True, check=True)
    assert json.loads(ended.stdout)["status"] == "FAILURE"
    assert not server.received


def test_a_channel_is_added_and_shows_no_secret_anywhere(
    admin_client: Client, elsewhere: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is one in a log at DEBUG, or among the arguments or the environment of a process."""
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    def look_at_processes() -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if PROGRAM.encode() in (folder / "cmdline").read_bytes():
                    seen.append((folder / "cmdline").read_text() + (folder / "environ").read_text())
            except OSError:
                continue

    elsewhere.before_reply = look_at_processes
    data = {"name": "ops", "enabled": "on", "level": "1", "per_hour": "20", "new_address": TELEGRAM}
    answer = admin_client.post(f"{CHANNELS}add/?kind=apprise", data)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    row = Channel.objects.get()
    assert row.read_address() == TELEGRAM
    shown = admin_client.get(CHANNELS).content.decode()
    assert "Telegram, tgram://***" in shown
    see(problem())
    shown += admin_client.get(f"{CHANNELS}{row.pk}/change/").content.decode()
    assert shown.count("Telegram, tgram://***") == 2
    outbox.flush()
    assert Delivery.objects.get().sent_at
    elsewhere.reply(500, SECRET.encode())
    shown += admin_client.post(f"{CHANNELS}{row.pk}/test/", follow=True).content.decode()
    assert "Telegram did not accept it (it answered 500)" in shown
    call_command("dumpdata", "alerts", "activity", stdout=(out := StringIO()))
    shown += out.getvalue()
    shown += caplog.text + repr(list(Activity.objects.values()))
    shown += repr(list(Channel.objects.values())) + repr(list(Delivery.objects.values()))
    assert elsewhere.received
    assert BOT in elsewhere.received[0].path
    assert seen
    assert "RAINBO_SECRET_KEY" not in "".join(seen)
    assert SECRET not in shown + "".join(seen)
    assert "apprise" not in sys.modules, "its 190 modules are loaded in its own process alone"


def test_the_process_writes_nothing_but_its_result(server: Receiver) -> None:
    """Apprise logs URLs with their secrets at DEBUG."""
    job = {"url": TELEGRAM, "hosts": ["api.telegram.org"], "ca": True, "seconds": 20}
    job |= {"title": "x", "body": "y", "type": "info"}
    server.reply(500, b"no")
    ended = subprocess.run(
        [sys.executable, "-I", "-X", "dev", PROGRAM, server.url(), "5"],
        input=json.dumps(job).encode(),
        capture_output=True,
        check=True,
    )
    assert json.loads(ended.stdout)["http"] == 500
    assert SECRET not in ended.stdout.decode() + ended.stderr.decode()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"{TELEGRAM}/-1002", "must have one recipient"),
        ("pagerduty://short", "does not understand this URL of PagerDuty"),
    ],
)
def test_one_recipient_for_each_channel(elsewhere: Receiver, url: str, words: str) -> None:
    """Of several, one that refuses makes Apprise call the whole message a failure."""
    with pytest.raises(UsageError, match=words):
        apprise.check_address(url)
    assert not elsewhere.received


def test_without_the_package_the_kind_is_not_offered_and_a_channel_says_what_is_missing(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = f"{CHANNELS}add/?kind=apprise"
    assert "Apprise URL" in admin_client.get(add).content.decode()
    monkeypatch.setitem(sys.modules, "apprise", None)  # as if it were not installed
    row = row_of()
    page = admin_client.get(add).content.decode()
    assert "Another service" not in page
    assert "Apprise URL" not in page
    words = "the package apprise is not installed"
    assert words in admin_client.get(CHANNELS).content.decode()
    assert words in admin_client.get(f"{CHANNELS}{row.pk}/change/").content.decode()
    result = registry.send(row, "1", messages.of_test("ops", NOW), NOW)
    assert result == Result(False, apprise.MISSING)


def test_a_process_that_breaks_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    assert send() == Result(False, "the process that sends to Telegram failed")
