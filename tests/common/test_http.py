"""The HTTP client against real servers, each of which behaves badly in its own way."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from urllib3.util import connection

from common import http
from common.http import AddressRejected, Answer, HttpError, Limits
from common.http_client import Client
from tests.certificates import Authority
from tests.http_servers import Receiver, Reply, raw_server, receiver

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOOK = "/services/T0/B0/QSECRETQ"
USES = re.compile(r"^\s*(import|from) (requests|urllib3)\b", re.MULTILINE)
ROOMS = ("common", "rainbo", "syncs", "tenants", "activity", "alerts", "api", "integrations")


@pytest.fixture(autouse=True)
def _local_hosts(settings: Any) -> None:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Authority, Path]:
    made = Authority.make()
    (tmp_path / "ca.pem").write_text(made.pem)
    return made, tmp_path


@pytest.mark.parametrize("status", [200, 204, 400, 404, 410, 429, 500, 503])
def test_every_status_is_an_answer(server: Receiver, status: int) -> None:
    server.reply(status, b"" if status == 204 else b"why")
    answer = http.send("POST", server.url("/x?y=1"), body=b"{}", headers={"A": "b"})
    assert (answer.status, answer.text) == (status, "" if status == 204 else "why")
    assert answer.is_success is (status < 300)
    sent = server.received[0]
    assert (sent.method, sent.path, sent.body, sent.headers["a"]) == ("POST", "/x?y=1", b"{}", "b")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(server: Receiver, method: str, status: int) -> None:
    with receiver() as other:
        server.reply(status, location=other.url("/elsewhere"))
        answer = http.send(method, server.url(), body=b"secret")
        assert answer.status == status
        assert not answer.is_success
        assert not other.received
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", timedelta(minutes=2)),
        ("0", timedelta()),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), timedelta(seconds=90)),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), timedelta()),
        ("Sunday, 06-Nov-94 08:49:37 GMT", timedelta()),
        ("999999999", timedelta(days=365)),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("9" * 5_000, None),
    ],
)
def test_both_forms_of_retry_after(value: str | None, wait: timedelta | None) -> None:
    assert http.read_retry_after(value, NOW) == wait


def test_a_wait_until_a_time_is_counted_by_the_clock_of_the_one_who_asks_for_it() -> None:
    date, until = (format_datetime(NOW + timedelta(seconds=s), usegmt=True) for s in (0, 30))

    def answer(connection: socket.socket, _: threading.Event) -> None:
        head = f"HTTP/1.1 429 Slow down\r\nDate: {date}\r\nRetry-After: {until}\r\n"
        connection.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())

    with raw_server(answer) as url:
        assert http.send("GET", url).retry_after == timedelta(seconds=30)


def test_a_longer_body_than_the_limit_is_an_error_or_is_cut(server: Receiver) -> None:
    limits = Limits(size=50_000)
    server.reply(200, b"x" * 50_000)
    assert len(http.send("GET", server.url(), limits=limits).body) == 50_000
    server.reply(200, b"x" * 50_001)
    with pytest.raises(HttpError, match="more than 50,000 bytes"):
        http.send("GET", server.url(), limits=limits)
    answer = http.send("GET", server.url(), limits=limits, cut=True)
    assert (len(answer.body), answer.is_cut) == (50_000, True)


def test_a_body_is_not_unpacked(server: Receiver) -> None:
    """Or a few bytes could fill the memory."""
    server.replies = [Reply(200, b"\x1f\x8b packed", {"Content-Encoding": "gzip"})]
    assert http.send("GET", server.url()).body == b"\x1f\x8b packed"
    assert server.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",  # drips the body
        b"HTTP/1.1 200 OK\r\n\r\n",  # of unknown length
        b"HTTP/1.1 200 OK\r\nX: ",  # drips the headers
        b"",
    ],
)
def test_an_answer_that_drips_ends_at_the_deadline(begin: bytes) -> None:
    def drip(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(begin)
        while not over.wait(0.02):
            connection.sendall(b"x")

    started = time.monotonic()
    with raw_server(drip) as url, pytest.raises(HttpError, match=r"completely within 0\.3 s"):
        http.send("GET", url, limits=Limits(read=5, total=0.3))
    assert time.monotonic() - started < 3


def test_a_server_that_says_nothing_ends_at_the_read_timeout() -> None:
    def wait(_: socket.socket, over: threading.Event) -> None:
        over.wait(5)

    with (
        raw_server(wait) as url,
        pytest.raises(HttpError, match=r"127\.0\.0\.1 did not answer within 0\.2 s"),
    ):
        http.send("GET", url, limits=Limits(read=0.2))


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_connection_that_is_closed_in_the_middle_is_an_error(sent: bytes) -> None:
    with (
        raw_server(lambda connection, _: connection.sendall(sent)) as url,
        pytest.raises(HttpError, match="closed the connection before") as caught,
    ):
        http.send("GET", url)
    assert caught.value.transient


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HttpError, match=r"127\.0\.0\.1 refused the connection"):
        http.send("GET", f"http://127.0.0.1:{port}/")


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(HttpError, match=r"the name nowhere\.invalid can't be resolved"):
        http.send("GET", "https://nowhere.invalid/")


def test_a_certificate_is_verified_by_the_configured_authority(
    authority: tuple[Authority, Path], settings: Any
) -> None:
    with receiver(authority) as server:
        with pytest.raises(HttpError, match="certificate that RAINBO can't verify"):
            http.send("POST", server.url(), body=b"secret")
        assert not server.received
        settings.RAINBO_HTTP_CA = str(authority[1] / "ca.pem")
        assert http.send("GET", server.url()).status == 200


def test_a_certificate_of_another_host_is_rejected(
    authority: tuple[Authority, Path], settings: Any
) -> None:
    settings.RAINBO_HTTP_CA = str(authority[1] / "ca.pem")
    with (
        receiver(authority, host="other.example") as server,
        pytest.raises(HttpError, match="certificate that RAINBO can't verify"),
    ):
        http.send("GET", server.url())


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "0.0.0.0", "2130706433", "0x7f.1", "[::1]"),
        *("[::ffff:127.0.0.1]", "169.254.169.254", "10.1.2.3", "192.168.1.1", "172.16.0.1"),
        *("100.64.0.1", "[fe80::1]", "[fd00::1]", "224.0.0.1"),
    ],
)
def test_private_addresses_are_rejected(host: str, settings: Any) -> None:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = []
    with pytest.raises(AddressRejected, match="private network") as caught:
        http.send("POST", f"https://{host}:9/", body=b"x")
    assert not caught.value.transient


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    server: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that first leads outside and then inside reaches nothing inside."""
    settings.RAINBO_HTTP_PRIVATE_HOSTS = []
    asked, dialled = list[str](), list[str]()

    def resolve(host: str, port: int, *_: Any, **__: Any) -> Any:
        asked.append(host)
        address = "8.8.4.4" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def dial(address: tuple[str, int], *_: Any, **__: Any) -> Any:
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(connection, "create_connection", dial)
    with pytest.raises(HttpError, match=r"rebinding\.example refused the connection"):
        http.send("GET", f"https://rebinding.example:{server.port}/")
    assert dialled == ["8.8.4.4"]
    assert not server.received


@pytest.mark.parametrize(
    "url",
    [
        *("", "https://", "ftp://example.com/", "file:///etc/passwd", "//example.com/"),
        *("https://ann:pw@example.com/", "https://example.com:99999/", "https://[::1/"),
        *("https://exa mple.com/", "https://example.com/\r\nX: y", "https://example.com\\@x/"),
        "http://example.com/",
    ],
)
def test_addresses_that_are_not_sent_to(url: str) -> None:
    with pytest.raises(AddressRejected):
        http.send("GET", url)


def test_http_in_clear_only_to_a_named_host() -> None:
    with pytest.raises(AddressRejected, match="must begin with https"):
        http.check_address("http://example.com/")
    assert http.check_address("http://127.0.0.1:1/").hostname == "127.0.0.1"


def test_neither_proxy_nor_netrc_of_the_environment_is_used(
    server: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password QSECRETQ\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    assert http.send("GET", server.url()).status == 200
    assert "authorization" not in server.received[0].headers


def test_logs_have_host_path_and_time_but_no_query(
    server: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    http.send("GET", server.url("/plain?code=QSECRETQ"))
    http.send("POST", server.url(HOOK))
    http.send("POST", server.url("/QSECRETQ"), secret_path=True)
    assert "GET 127.0.0.1 /plain: 200 in " in caplog.text
    assert "POST 127.0.0.1 /services/***: 200 in " in caplog.text
    assert "POST 127.0.0.1 ***: 200 in " in caplog.text
    assert "QSECRETQ" not in caplog.text


def test_neither_an_error_nor_its_traceback_has_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    secret = f"/{'Q'}SECRETQ"  # a traceback shows the line of the call
    with pytest.raises(HttpError) as caught:
        http.send("POST", f"http://127.0.0.1:{port}{secret}", secret_path=True)
    logging.getLogger("test").error("it failed", exc_info=caught.value)
    assert "QSECRETQ" not in caplog.text + str(caught.value)


def test_what_is_no_text_is_shown_as_far_as_it_can_be() -> None:
    assert Answer(200, b"caf\xe9").text == "caf\N{REPLACEMENT CHARACTER}"


OK = b"HTTP/1.1 200 OK\r\nSet-Cookie: id=QSECRETQ\r\nContent-Length: 2\r\n\r\nok"


class Keeping:
    """Answers one request after the other of a connection. heard: what came on each of them.

    behave: what it does instead with a request, by the number of its connection and its own.
    """

    def __init__(self) -> None:
        self.heard: list[list[bytes]] = []
        self.behave: dict[tuple[int, int], Any] = {}

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        self.heard.append([])
        here, asked = len(self.heard), b"GET / HTTP/1.1"  # which the server has read already
        while asked:
            self.heard[-1].append(asked)
            usual = self.behave.get((here, len(self.heard[-1])))
            if usual is not None:
                usual(connection, over)
                return
            connection.sendall(OK)
            asked = connection.recv(65_536)

    @property
    def counts(self) -> list[int]:
        return [len(asked) for asked in self.heard]


@pytest.fixture
def keeping() -> Keeping:
    return Keeping()


def test_a_client_keeps_its_connection_open_until_it_ends(keeping: Keeping) -> None:
    with raw_server(keeping) as url:
        with Client(url) as client:
            for _ in range(3):
                assert client.send("GET", url).text == "ok"
        assert keeping.counts == [3]
        http.send("GET", url)
        assert keeping.counts == [3, 1], "and the server has seen its end"


def test_a_client_sends_nothing_of_an_answer_back(keeping: Keeping) -> None:
    with raw_server(keeping) as url, Client(url) as client:
        client.send("GET", url, headers={"Authorization": "Bearer QSECRETQ"})
        client.send("GET", url)
    assert b"cookie" not in keeping.heard[0][1].lower()
    assert b"QSECRETQ" not in keeping.heard[0][1]


def test_clients_share_no_connection(keeping: Keeping) -> None:
    with raw_server(keeping) as url:
        for _ in range(2):
            with Client(url) as client:
                client.send("GET", url)
    assert keeping.counts == [1, 1]


def test_a_request_that_finds_its_connection_closed_is_sent_once_more(keeping: Keeping) -> None:
    keeping.behave[1, 2] = lambda *_: None  # takes the request, and closes
    with raw_server(keeping) as url, Client(url) as client:
        assert [client.send("GET", url).text for _ in range(3)] == ["ok", "ok", "ok"]
    assert keeping.counts == [2, 2]


def test_a_request_is_sent_twice_at_most(keeping: Keeping) -> None:
    keeping.behave = {(1, 2): lambda *_: None, (2, 1): lambda *_: None}
    with raw_server(keeping) as url, Client(url) as client:
        client.send("GET", url)
        with pytest.raises(HttpError, match="closed the connection before"):
            client.send("GET", url)
    assert keeping.counts == [2, 1]


def test_what_may_change_something_is_sent_once(keeping: Keeping) -> None:
    keeping.behave[1, 1] = lambda *_: None
    with raw_server(keeping) as url, pytest.raises(HttpError):
        http.send("POST", url, body=b"{}")
    assert keeping.counts == [1]


def test_an_answer_that_began_is_not_asked_for_again(keeping: Keeping) -> None:
    keeping.behave[1, 2] = lambda connection, _: connection.sendall(OK[:-1])
    with raw_server(keeping) as url, Client(url) as client:
        client.send("GET", url)
        with pytest.raises(HttpError, match="closed the connection before"):
            client.send("GET", url)
        assert keeping.counts == [2]
        assert client.send("GET", url).text == "ok"


def test_each_request_of_a_client_has_its_own_deadline(keeping: Keeping) -> None:
    def drip(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(OK[:-1])
        while not over.wait(0.02):
            connection.sendall(b"")

    keeping.behave[1, 3] = drip
    limits = Limits(read=5, total=0.4)
    with raw_server(keeping) as url, Client(url) as client:
        for _ in range(2):
            client.send("GET", url, limits=limits)
            time.sleep(0.3)  # what passes between them doesn't count
        started = time.monotonic()
        with pytest.raises(HttpError, match=r"completely within 0\.4 s"):
            client.send("GET", url, limits=limits)
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("other", ["http://127.0.0.1:1/", "https://example.com/"])
def test_a_client_asks_no_other_server(other: str, keeping: Keeping) -> None:
    with raw_server(keeping) as url, Client(url) as client:
        client.send("GET", url)
        with pytest.raises(AddressRejected, match="another server"):
            client.send("GET", other)


def test_a_client_checks_each_time_where_its_name_leads(
    authority: tuple[Authority, Path], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = []
    settings.RAINBO_HTTP_CA = str(authority[1] / "ca.pem")
    leads_to = ["8.8.4.4"]

    def resolve(_: str, port: int, *__: Any, **___: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (leads_to[-1], port))]

    with receiver(authority, host="rebinding.example") as server:

        def dial(*_: Any, **__: Any) -> socket.socket:
            found = socket.socket()
            found.connect(("127.0.0.1", server.port))
            return found

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setattr(connection, "create_connection", dial)
        url = f"https://rebinding.example:{server.port}/"
        with Client(url) as client:
            assert client.send("GET", url).status == 200
            leads_to.append("127.0.0.1")
            with pytest.raises(AddressRejected, match="private network"):
                client.send("GET", url)
        assert len(server.received) == 1


def test_one_thread_waits_for_all_deadlines(server: Receiver) -> None:
    for _ in range(3):
        http.send("GET", server.url())
    assert [t.name for t in threading.enumerate()].count("socket deadlines") == 1


FORKED = """
import os, socket
from common.socket_deadline import SocketDeadline

def is_ended():
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    with SocketDeadline(0.1) as deadline:
        deadline.watch(type("Owner", (), {"sock": ours}))
        ours.recv(1)
    return deadline.is_over

assert is_ended()
if not (pid := os.fork()):
    os._exit(0 if is_ended() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_a_forked_process_has_deadlines_too() -> None:
    """Its parent's thread is none of its own."""
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=30)


def test_the_client_is_the_only_user_of_requests() -> None:
    """Other modules would have another policy. Apprise, in a process of its own, sends
    through the guard that apprise_child.py puts around it."""
    root = Path(__file__).parents[2]
    users = {
        path.relative_to(root).as_posix()
        for room in ROOMS
        for path in (root / room).rglob("*.py")
        if USES.search(path.read_text(encoding="utf-8"))
    }
    assert users == {"common/http_client.py", "alerts/channels/apprise_child.py"}
