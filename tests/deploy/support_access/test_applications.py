"""What applications do with assertions and sessions: one suite for the three languages."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tenants.fleet import contract
from tests.deploy.support_access.applications import (
    ISSUER,
    LANGUAGES,
    SHIPPED,
    Answer,
    Application,
    Given,
    rows,
    running,
)
from tests.deploy.support_access.tokens import EVIL, KeySet, attempts
from tests.http_servers import receiver
from tests.instances import Instance, InstanceFleet

TABLE = (SHIPPED / "support_sessions.sql").read_text()
OVER = "The support session is over"


class Place:
    """Two application servers of instance 2, with its database and RAINBO's keys."""

    def __init__(
        self, language: str, given: Given, keyset: KeySet, servers: list[Application]
    ) -> None:
        self.language, self.given, self.keyset = language, given, keyset
        self.first, self.second = servers
        self.there: Instance

    def enter(self, **changes: object) -> str:
        """Begin a session; returns its cookie."""
        answer = self.first.enter(self.keyset.sign(**changes))  # type: ignore[arg-type]
        assert (answer.status, bool(answer.cookie)) == (303, True), answer
        return answer.cookie

    def end_by_rainbo(self, jti: str) -> None:
        """As RAINBO does, by its own role."""
        named = {"jti": jti, "ghost_id": "17", "tenant_id": "42", "person": "ann"}
        rest = {"reason": "x", "ticket": "", "read_only": True, "ended_by": "rainbo: ann left"}
        with self.there.connect_as_rainbo() as own:
            own.execute(contract.text("end_support_session"), named | rest)


@pytest.fixture(scope="module", params=LANGUAGES)
def started(
    request: pytest.FixtureRequest,
    _instances: InstanceFleet,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp(request.param)
    with receiver() as published:
        keyset = KeySet(published)
        given = Given(_instances[2].server, published.url("/.well-known/jwks.json"), folder)
        with running(request.param, given, count=2) as servers:
            yield Place(request.param, given, keyset, servers)


@pytest.fixture
def place(started: Place, fleet: InstanceFleet) -> Iterator[Place]:
    there = started.there = fleet[2]
    there.execute(TABLE)
    there.add_tenant(42, "Acme & Sons")
    there.add_tenant(43, "Other")
    ghost = {"is_ghost_admin": True, "rainbo_installation": "here"}
    there.add_user(17, None, "ghost5@system.internal", rainbo_admin_id="5", **ghost)
    there.add_user(20, None, "ghost6@system.internal", rainbo_admin_id="6", **ghost)
    there.add_user(19, 42, "ada@example.com")
    yield started
    there.server.start()
    there.execute("DROP TABLE IF EXISTS rainbo_support_sessions")


def test_one_enters_once_and_sees_it_on_every_page(place: Place) -> None:
    token = place.keyset.sign()
    entered = place.first.enter(token)
    assert (entered.status, entered.headers["cache-control"]) == (303, "no-store")
    flags = entered.headers["set-cookie"].lower().replace(" ", "").split(";")
    assert {"httponly", "samesite=lax", f"path={place.first.root}/"} <= set(flags)
    assert token[:50] not in str(entered)
    page = place.second.get("/tenants/42/", entered.cookie)
    assert page.headers["cache-control"] == "no-store"
    text = " ".join(html.unescape(re.sub("<[^>]*>", "", page.text)).split())
    shown = f"Support session of ann {EVIL} in tenant 42, read-only, ends in 30 min: Invoice 118"
    assert shown in text
    assert page.text.count('id="rainbo-support"') == 1
    assert page.text.index("<body") < page.text.index("<aside") < page.text.index("<h1")
    assert "<script>" not in page.text
    size = len(page.text.encode())
    assert int(page.headers.get("content-length", size)) == size
    for application in (place.first, place.second):
        again = application.enter(token)
        assert (again.status, again.cookie) == (403, "")
    ((*stored, requests, refused),) = rows(
        place.there, "ghost_id, tenant_id, person, reason, read_only, ended_at, requests, refused"
    )
    reason = f"Invoice 118 shows no VAT {EVIL}"
    assert stored == ["17", "42", f"ann {EVIL}", reason, True, None]
    assert (requests, refused) == (1, 2)


def test_what_is_refused_leaves_nothing(place: Place) -> None:
    tried = 0
    for name, token in attempts(place.keyset):
        answer = place.first.enter(token)
        tried += 1
        assert (name, answer.status, answer.cookie) == (name, 403, "")
    assert tried > 90
    two = urlencode([("assertion", place.keyset.sign()), ("assertion", place.keyset.sign())])
    for body, status in ((two, {403}), ("other=1", {403}), ("x=" + "x" * 17_000, {403, 413})):
        assert place.first.send("POST", "/rainbo/enter", body=body).status in status
    query = urlencode({"assertion": place.keyset.sign()})
    assert place.first.send("GET", f"/rainbo/enter?{query}").status == 405
    assert place.first.send("POST", f"/rainbo/enter?{query}").status == 403
    assert rows(place.there, "jti") == []
    assert place.enter(), "the same, as it should be, gets in"


def test_both_names_of_the_algorithm_and_late_clocks_within_bounds_get_in(place: Place) -> None:
    assert place.first.enter(place.keyset.sign_claims(place.keyset.claims(), alg="Ed25519")).cookie
    assert place.enter(seconds_ago=60)
    assert place.enter(seconds_ago=-5)


def test_what_was_withdrawn_after_the_issue_lets_nobody_in(place: Place) -> None:
    withdrawn = {
        "the ghost user is inactive": "UPDATE users SET status = 'Inactive' WHERE id = 17",
        "it is no ghost user": "UPDATE users SET status = 'Active', is_ghost_admin = false",
        "it is another person's": "UPDATE users SET is_ghost_admin = true, rainbo_admin_id = NULL",
        "the ghost user is gone": "DELETE FROM users WHERE id = 17",
        "the tenant is gone": "DELETE FROM tenants WHERE id = 43",
    }
    for name, statement in withdrawn.items():
        token = place.keyset.sign(tenant_id="43")
        place.there.execute(statement)
        assert (name, place.first.enter(token).status) == (name, 403)
    assert rows(place.there, "jti") == []


def test_what_rainbo_ended_before_it_was_used_is_never_used(place: Place) -> None:
    """The person, the permission or the instance was withdrawn: RAINBO writes the end there."""
    claims = place.keyset.claims()
    place.end_by_rainbo(claims["jti"])
    answer = place.first.enter(place.keyset.sign_claims(claims))
    assert (answer.status, answer.cookie) == (403, "")
    assert rows(place.there, "redeemed_at, ended_by, refused") == [(None, "rainbo: ann left", 1)]


def test_of_a_hundred_at_once_one_gets_in(place: Place) -> None:
    token = place.keyset.sign()

    def attempt(number: int) -> Answer:
        return (place.first, place.second)[number % 2].enter(token)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(attempt, range(100)))
    assert sorted(answer.status for answer in answers) == [303, *[403] * 99]
    assert sum(bool(answer.cookie) for answer in answers) == 1
    assert rows(place.there, "refused, requests") == [(99, 0)]


def test_a_read_only_session_writes_nothing_and_no_session_leaves_its_tenant(place: Place) -> None:
    reader, writer = place.enter(), place.enter(read_only=False)
    refused = place.first.add_location("42", reader)
    assert (refused.status, "read-only" in refused.text) == (403, True)
    for method in ("PUT", "PATCH", "DELETE"):
        assert place.first.send(method, "/tenants/42/", reader).status == 403
    assert 'id="rainbo-support"' in refused.text
    assert place.there.execute("SELECT count(*) FROM locations") == [(0,)]
    assert place.second.add_location("42", writer).status == 302
    assert place.there.execute("SELECT tenant_id, name FROM locations") == [(42, "Depot")]
    for cookie in (reader, writer):
        answer = place.first.get("/tenants/43/", cookie)
        assert (answer.status, "another tenant" in answer.text) == (403, True)
        assert "Other" not in answer.text
    assert place.first.add_location("43", writer).status == 403
    assert sorted(rows(place.there, "read_only, blocked")) == [(False, 2), (True, 5)]


def test_a_page_that_the_browser_has_from_before_is_sent_with_its_banner(place: Place) -> None:
    cookie = place.enter()
    for known in ({"If-None-Match": "*"}, {"If-Modified-Since": "Mon, 01 Nov 2027 00:00:00 GMT"}):
        answer = place.first.send("GET", "/tenants/42/", cookie, **known)
        assert (answer.status, 'id="rainbo-support"' in answer.text) == (200, True)


def test_protected_actions_are_refused_whatever_the_session_may_do(place: Place) -> None:
    cookie = place.enter(read_only=False)
    paths = (
        *("/account/password", "/account/PassWord", "/account/p%61ssword", "//password"),
        *("/settings/email", "/settings/e-mail/x", "/two-factor", "/settings/mfa?next=/"),
        *("/api-keys/1", "/tokens/new", "/recovery-codes"),
    )
    for path in paths:
        for method in ("GET", "POST"):
            answer = place.first.send(method, path, cookie)
            assert (path, answer.status, "no access" in answer.text) == (path, 403, True)
    assert rows(place.there, "blocked") == [(2 * len(paths),)]


def test_a_session_ends_by_its_button_by_rainbo_and_by_its_time(place: Place) -> None:
    first, second, third = (place.enter() for _ in range(3))
    place.first.get("/rainbo/end", first)
    assert place.first.get("/tenants/42/", first).status == 200, "a GET ends nothing"
    ended = place.second.send("POST", "/rainbo/end", first)
    assert (ended.status, OVER in ended.text) == (200, True)
    assert not re.search("[0-9a-f]{8}-", ended.cookie), "the browser forgets it"
    assert [by for (by,) in rows(place.there, "ended_by") if by] == ["the person"]
    open_ = [jti for jti, ended_at in rows(place.there, "jti, ended_at") if ended_at is None]
    assert len(open_) == 2
    place.end_by_rainbo(str(open_[0]))
    place.there.execute(
        "UPDATE rainbo_support_sessions SET redeemed_at = now() - interval '30 min', "
        "ends_at = now() - interval '1 s' WHERE jti = %s",
        [open_[1]],
    )
    requests = rows(place.there, "jti, requests")
    for cookie in (first, second, third):
        for application in (place.first, place.second):
            answer = application.get("/tenants/42/", cookie)
            assert (answer.status, OVER in answer.text) == (403, True)
            assert "Acme" not in answer.text
    assert rows(place.there, "jti, requests") == requests


def test_a_cookie_is_good_for_what_it_was_made_for(place: Place) -> None:
    cookie = place.enter()
    name, _, value = cookie.partition("=")
    jti = value[:36]
    other = str(place.keyset.claims()["jti"])
    forged = (
        *("", jti, f"{jti}.", f"{jti}:", value[:-1], value + "x", value.replace(jti, other)),
        *(f"{other}.{'0' * 43}", "x" * 5000, "'; DROP TABLE users; --"),
    )
    for text in forged:
        answer = place.first.get("/tenants/42/", f"{name}={text}")
        assert (text, answer.status, "Acme" in answer.text) == (text, 403, False)
    given = replace(place.given, instance=3)
    with running(place.language, given) as (third,):
        assert third.get("/tenants/42/", cookie).status == 403
    assert rows(place.there, "requests") == [(0,)]
    assert place.first.get("/tenants/42/", cookie).status == 200
    assert place.first.get("/", "").status in (302, 401)
    assert "rainbo-support" not in place.first.get("/", "").text


def test_a_database_that_is_down_is_said_and_nothing_is_half_done(place: Place) -> None:
    cookie, token = place.enter(), place.keyset.sign()
    place.there.execute("CHECKPOINT")  # the tests' servers don't write every commit at once
    place.there.server.kill()
    for answer in (place.first.enter(token), place.first.get("/tenants/42/", cookie)):
        assert (answer.status, "unavailable" in answer.text) == (503, True)
        assert (answer.cookie, "Acme" in answer.text) == ("", False)
    place.there.server.start()
    assert len(rows(place.there, "jti")) == 1
    assert place.first.enter(token).status == 303
    assert place.second.get("/tenants/42/", cookie).status == 200
    place.there.execute("DROP TABLE rainbo_support_sessions")
    assert place.first.enter(place.keyset.sign()).status == 503


def test_the_log_says_what_to_mend(place: Place) -> None:
    place.first.enter(place.keyset.sign(instance_id=3))
    place.first.enter(place.keyset.sign(issuer="https://rainbo.example.net"))
    place.there.execute("ALTER TABLE rainbo_support_sessions RENAME TO elsewhere")
    assert place.first.enter(place.keyset.sign()).status == 503
    place.there.execute("ALTER TABLE elsewhere RENAME TO rainbo_support_sessions")
    logged = place.first.log.read_text(errors="replace")
    assert f"of {ISSUER}, for instance:3: see issuer and instance" in logged
    assert "of https://rainbo.example.net, for instance:2" in logged
    assert 'relation "rainbo_support_sessions" does not exist' in logged


def test_no_secret_gets_into_the_log(place: Place) -> None:
    """Of all that the tests before this one did with the same two processes."""
    place.first.enter(place.keyset.sign(seconds_ago=600))
    secret = re.split("[.:]", place.enter(), maxsplit=1)[1]
    place.first.get("/tenants/42/", f"rainbo_support={secret}")
    files = (place.first.log, place.second.log)
    logged = "".join(file.read_text(errors="replace") for file in files)
    assert "clock" in logged, "the log says why somebody was refused"
    assert len(secret) > 40
    assert secret not in logged
    assert place.there.server.password not in logged
    assert not re.search(r"eyJ[\w-]{20,}", logged), "a signed token, or a part of one"


def test_keys_rotate_while_it_runs_and_nobody_makes_it_ask_often(place: Place) -> None:
    asked = place.keyset.receiver.received
    with running(place.language, replace(place.given, folder=_empty(place, "fresh"))) as (fresh,):
        before, former = len(asked), place.keyset.sign()
        assert fresh.enter(place.keyset.sign()).status == 303
        assert len(asked) == before + 1
        place.keyset.rotate(keep=True)
        assert fresh.enter(former).status == 303, "the former key is still published"
        assert fresh.enter(place.keyset.sign()).status == 303
        assert len(asked) == before + 2
        place.keyset.rotate()
        for _ in range(5):
            assert fresh.enter(place.keyset.sign()).status == 403
        assert len(asked) == before + 2
    path = _empty(place, "file") / "keys.json"
    path.write_text(json.dumps(place.keyset.document))
    given = replace(place.given, keys=str(path), folder=path.parent)
    with running(place.language, given) as (offline,):
        assert offline.enter(place.keyset.sign()).status == 303
        place.keyset.rotate()
        token = place.keyset.sign()
        assert offline.enter(token).status == 403
        path.write_text(json.dumps(place.keyset.document))
        assert offline.enter(token).status == 303
        path.write_text("{")
        assert offline.enter(place.keyset.sign()).status == 503
    assert len(asked) == before + 2
    with running(place.language, replace(place.given, folder=_empty(place, "down"))) as (cut,):
        place.keyset.receiver.reply(500, b"down")
        for _ in range(3):
            answer = cut.enter(place.keyset.sign())
            assert (answer.status, answer.cookie) == (503, "")
        assert len(asked) == before + 3
        place.keyset.rotate()


def _empty(place: Place, name: str) -> Path:
    folder = place.given.folder / name
    folder.mkdir(exist_ok=True)
    return folder
