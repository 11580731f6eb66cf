"""The proxy forwards, counts what the server sends, and delays it by the round trip."""

from __future__ import annotations

import time

from bench.testbed.proxy import proxy
from localfleet.servers.fleet import LocalFleet


def test_it_counts_what_comes_from_the_server(postgres_servers: LocalFleet) -> None:
    server = postgres_servers["rainbo"]
    with proxy(server.port) as counting, server.connect(port=counting.port) as session:
        counting.bytes_from_server()
        session.execute("SELECT repeat('x', 1000) FROM generate_series(1, 1000)").fetchall()
        counted = counting.bytes_from_server()
    assert 1_000_000 < counted < 1_030_000


def test_it_delays_every_answer_by_the_round_trip(postgres_servers: LocalFleet) -> None:
    server = postgres_servers["rainbo"]
    with proxy(server.port, 0.05) as far, server.connect(port=far.port) as session:
        started = time.monotonic()
        for _ in range(4):
            session.execute("SELECT 1")
        assert time.monotonic() - started >= 0.2


def test_a_client_that_leaves_in_the_middle_leaves_the_proxy_at_work(
    postgres_servers: LocalFleet,
) -> None:
    server = postgres_servers["rainbo"]
    with proxy(server.port) as counting:
        leaving = server.connect(port=counting.port)
        leaving.pgconn.send_query(b"SELECT repeat('x', 1000000) FROM generate_series(1, 100)")
        leaving.close()
        with server.connect(port=counting.port) as session:
            assert session.execute("SELECT 1").fetchone() == (1,)
