"""The page of the demo that shows what arrived."""

from __future__ import annotations

import smtplib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from localfleet.demo import breaking, receiver
from localfleet.demo.receiver import Inbox
from localfleet.errors import FleetError
from localfleet.servers.server import HOST, free_port

Places = tuple[str, int]


@pytest.fixture
def places() -> Iterator[Places]:
    """The address of the page, and the port of the mail server."""
    inbox = Inbox()
    servers = receiver.web(inbox, free_port()), receiver.smtp(inbox, free_port())
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers]
    for thread in threads:
        thread.start()
    yield f"http://{HOST}:{servers[0].server_address[1]}", int(servers[1].server_address[1])
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"text": "a &lt;b&gt; c"}', "a &lt;b&gt; c"),
        ('{"content": "hello\\nthere"}', "hello\nthere"),
        ('{"data": [1]}', "{\n &quot;data&quot;"),
        ("<script>", "&lt;script&gt;"),
    ],
)
def test_what_was_posted_is_shown_as_text(places: Places, body: str, shown: str) -> None:
    assert "Nothing yet." in requests.get(places[0], timeout=5).text
    assert requests.post(f"{places[0]}/slack", data=body, timeout=5).text == "ok"
    page = requests.get(places[0], timeout=5).text
    assert "POST /slack" in page
    assert shown in page


def test_mail_is_shown(places: Places) -> None:
    with smtplib.SMTP(HOST, places[1], timeout=5) as client:
        client.sendmail("a@x.example", ["b@x.example"], "Subject: hello\r\n\r\n..dots\r\nlast")
    page = requests.get(places[0], timeout=5).text
    assert "Subject: hello" in page
    assert "\n..dots\nlast" in page


def test_only_the_last_messages_are_kept() -> None:
    inbox = Inbox()
    for number in range(receiver.KEPT + 1):
        inbox.add("x", f"message {number}")
    page = inbox.page().decode()
    assert "message 0<" not in page
    assert f"message {receiver.KEPT}<" in page


@pytest.mark.parametrize("what", breaking.WAYS)
def test_without_a_demo_there_is_nothing_to_break(tmp_path: Path, what: str) -> None:
    with pytest.raises(FleetError, match="No demo serves"):
        breaking.WAYS[what](tmp_path)
    assert not breaking.repair_file(tmp_path).exists()
