"""People who read pages one after the other, each with a connection of their own."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from bench.errors import BenchError

# How many of a hundred pages are of which kind.
MIX = {"Now": 40, "Find": 30, "Tenants": 20, "Instance": 10}
TIMEOUT = 120.0


@dataclass(frozen=True)
class Read:
    """in_time: answered within the time of the turn. Those that were not count as late."""

    kind: str
    seconds: float
    in_time: bool


@dataclass(frozen=True)
class Person:
    """cookie: the header of a signed-in browser. addresses: of each kind of page."""

    cookie: str
    addresses: Mapping[str, Sequence[str]]


class NoPage(BenchError):
    """Nothing has this address."""


def read_for(
    seconds: float, address: tuple[str, int], people: Sequence[Person], seed: int
) -> list[Read]:
    """Return what was requested within this time, each with the seconds that it took."""
    found: list[Read] = []
    problems: list[str] = []
    end = time.monotonic() + seconds

    def read_on(person: Person, number: int) -> None:
        chance = random.Random(f"{seed}/{number}")  # noqa: S311 (the same pages for both sides)
        connection = HTTPConnection(*address, timeout=TIMEOUT)
        try:
            while time.monotonic() < end and not problems:
                (kind,) = chance.choices([*MIX], [*MIX.values()])
                begin = time.monotonic()
                _get(connection, chance.choice(person.addresses[kind]), person.cookie)
                taken = time.monotonic() - begin
                found.append(Read(kind, taken, begin + taken < end))
        except (OSError, BenchError) as error:
            problems.append(f"{error!r}")
        finally:
            connection.close()

    threads = [threading.Thread(target=read_on, args=(p, n)) for n, p in enumerate(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems or not found:
        raise BenchError(f"A page was not answered: {(problems or ['none was'])[0]}")
    return found


def size_of(address: tuple[str, int], path: str, cookie: str) -> int | None:
    """Return the bytes of a page; None if there is no such page."""
    connection = HTTPConnection(*address, timeout=TIMEOUT)
    try:
        return len(_get(connection, path, cookie))
    except NoPage:
        return None
    finally:
        connection.close()


def _get(connection: HTTPConnection, path: str, cookie: str) -> bytes:
    connection.request("GET", path, headers={"Cookie": cookie, "Host": "localhost"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status == 404:
        raise NoPage(f"{path} gave {answer.status}")
    if answer.status != 200:
        raise BenchError(f"{path} gave {answer.status}")
    return body


def of_json(given: Sequence[Mapping[str, Any]]) -> list[Person]:
    return [Person(one["cookie"], one["addresses"]) for one in given]
