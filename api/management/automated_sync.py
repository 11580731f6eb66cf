"""Checks that syncs start by themselves: by the workers, and over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Q
from django.db.models.functions import Now

from api import scopes
from api.doors.services import MODELS
from api.models import ApiToken
from common import manage_command
from common.text import counted
from syncs.dispatch import reconcile
from syncs.engine import registry
from syncs.schedules import store
from syncs.schedules.descriptions import describe
from syncs.status import queries

TRIGGERS = Path(__file__).parents[2] / "deploy" / "triggers"
# Platform → the files whose lines it needs; in each stand an example's address and sync.
PLATFORMS = {
    "cron": ("crontab",),
    "systemd": ("systemd.txt",),
    "windows": ("task-scheduler.xml",),
    "container": ("Dockerfile",),
    "github": ("github-actions.yml",),
    "vercel": ("vercel/vercel.json", "vercel/package.json", "vercel/api/cron/sync.js"),
    "railway": ("railway.toml",),
    "external": ("external-services.txt",),
}
ELSEWHERE = ("github", "vercel", "railway", "external")  # run on machines of others
EXAMPLE_URL, EXAMPLE_SYNC = "https://rainbo.example.com", "user_routing"
MODELS_PATH = "/admin/model-sync/all"  # what the files start that name an address and no sync
TRIED = "instance_health"  # what the trial over HTTP runs: quick, and it writes to no instance
TRIAL_SECONDS = 120
TIMEOUT = 40  # seconds between two pieces of an answer
MOST_BYTES = 1_000_000
RUNS = {"syncs:run", "integrations:run", "models:run"}


@dataclass(frozen=True)
class Check:
    """One thing that must be so. remedy: what to do; empty if it is."""

    name: str
    detail: str
    remedy: str = ""

    @property
    def is_ok(self) -> bool:
        return not self.remedy


def check(url: str, token: str, *, dry_run: bool) -> Iterator[Check]:
    """Check the installation and create missing schedules; then, given a url, try it over HTTP.

    dry_run: create nothing. Later checks need what earlier ones find: the first failure of the
    database ends them.
    """
    database = _database()
    yield database
    if not database.is_ok:
        return
    yield _schedules(dry_run=dry_run)
    yield _workers()
    yield _tokens()
    if url:
        yield _http(url.rstrip("/"), token)


def lines(platform: str, url: str, sync: str) -> str:
    """Return what to enter on a platform: its files of deploy/triggers, with this address and sync.

    Several files are each headed by their path; one alone is as it is entered.
    """
    names = PLATFORMS[platform]
    texts = [(TRIGGERS / name).read_text(encoding="utf-8") for name in names]
    if len(names) > 1:
        heads = (f"# {name.removeprefix(f'{platform}/')}" for name in names)
        texts = [f"{head}\n{text}" for head, text in zip(heads, texts, strict=True)]
    text = "\n".join(texts)
    if url:
        text = text.replace("${{ secrets.API_URL }}", EXAMPLE_URL)
    if sync != MODELS:
        text = text.replace(MODELS_PATH, f"/api/sync/{sync}")
    if _is_loopback(url):  # in a container of its own network that would be the container
        text = text.replace("docker run ", "docker run --network host ")
    return text.replace(EXAMPLE_URL, url.rstrip("/") or EXAMPLE_URL).replace(EXAMPLE_SYNC, sync)


def check_reach(platform: str, url: str) -> Iterator[Check]:
    """Check that a platform on other machines is not given this machine's own address."""
    if platform in ELSEWHERE and url:
        if _is_loopback(url):
            detail = f"{url} is the machine itself, which {platform} can't reach"
            yield Check("address", detail, "give --url the address that others use")
        else:
            yield Check("address", f"{platform} is given {url}")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _database() -> Check:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        found = f"{counted(len(missing), 'migration')} not applied"
        return Check("database", found, f"run {manage_command.line('migrate')}")
    return Check("database", "all migrations are applied")


def _schedules(*, dry_run: bool) -> Check:
    found = reconcile.reconcile(dry_run=dry_run)
    left = [issue for issue in found if dry_run or not issue.remedy]
    if left:
        detail = "; ".join(f"{issue.subject}: {issue.wrong}" for issue in left)
        return Check("schedules", detail, f"run {manage_command.line('setup_schedules')}")
    planned = store.planned()
    shown = [
        f"{sync.name} {describe(plan.cron)}{' (switched off)' if plan.off else ''}"
        for sync in registry.scheduled_syncs()
        for plan in planned.get(sync.name, [])
    ]
    return Check("schedules", "; ".join(shown))


def _workers() -> Check:
    state = queries.worker_state()
    if state.problem:
        remedy = f"keep {manage_command.line('schedule_work')} running"
        return Check("workers", state.problem, remedy)
    if state.busy_with:
        return Check("workers", f"run {state.busy_with} is in progress")
    return Check("workers", f"last heartbeat {state.heartbeat:%H:%M:%S} UTC")


def _tokens() -> Check:
    valid = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), revoked_at=None)
    found = [str(token) for token in valid if RUNS & set(token.scopes)]
    if settings.RAINBO_CRON_SECRET and RUNS & set(scopes.CRON):
        found.insert(0, "RAINBO_CRON_SECRET")
    if not found:
        remedy = f"run {manage_command.line('api_token create cron --role operator')}"
        return Check("token", "no valid token may start a sync", remedy)
    return Check("token", "; ".join(found))


@dataclass(frozen=True)
class Reply:
    """An answer; the document is empty if the body holds none."""

    status: int
    headers: HTTPMessage
    document: Mapping[str, Any]


def _http(url: str, token: str) -> Check:
    try:
        return _tried(url, token)
    except (OSError, HTTPException) as error:
        remedy = "check --url, and that the web server runs"
        return Check("HTTP", f"no answer from {url} ({type(error).__name__})", remedy)


def _tried(url: str, token: str) -> Check:
    """Start a sync as a cron service does, without the token and with it, and wait for its end."""
    address = f"{url}/api/cron/sync-integrations?interval={TRIED}"
    reply = _send("POST", address, "")
    if 300 <= reply.status < 400:
        remedy = "give --url the final address, with https"
        return Check("HTTP", f"{url} redirects, and a redirected POST is lost", remedy)
    if reply.status != 401:
        found = f"{url} answered {reply.status} to a request without a token, not 401"
        return Check("HTTP", found, "check that RAINBO serves at --url, and no proxy answers")
    reply = _send("POST", address, token)
    deadline = time.monotonic() + TRIAL_SECONDS
    while reply.status == 202 and time.monotonic() < deadline:
        location = urljoin(address, reply.headers.get("Location", ""))
        if urlsplit(location)[:2] != urlsplit(url)[:2]:
            return Check("HTTP", f"{url} is no RAINBO: it names another server", "check --url")
        time.sleep(1)
        reply = _send("GET", location, token)
    return _outcome(url, reply)


def _outcome(url: str, reply: Reply) -> Check:
    found = reply.document
    if reply.status == 202:
        remedy = "check the workers: the request came in, and nobody executes the run"
        return Check("HTTP", f"the run has not ended within {TRIAL_SECONDS} s", remedy)
    if reply.status != 200:
        remedy = str(found.get("detail") or "check --url")
        return Check("HTTP", f"{url} answered {reply.status}", remedy)
    if "success" not in found:
        return Check("HTTP", f"{url} gave an answer that is not RAINBO's", "check --url")
    try:
        run = found["runs"][0]["runId"]
    except (KeyError, IndexError, TypeError):
        run = "unknown"
    if found["success"] is None:
        detail = f"run {run} of {TRIED} was skipped, as another was in progress"
        return Check("HTTP", detail, "try again when that has ended")
    if found["success"] is not True:
        return Check("HTTP", f"run {run} of {TRIED} did not succeed", "look at the run's page")
    return Check("HTTP", f"run {run} of {TRIED} succeeded, requested at {url}")


def _send(method: str, url: str, token: str) -> Reply:
    """Ask RAINBO itself, wherever it serves: `common.http` is for hosts of others.

    Nothing is followed, no proxy is asked. Raises OSError or HTTPException.
    """
    place = urlsplit(url)
    kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
    connection = kind(place.netloc, timeout=TIMEOUT)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request(method, url.partition(place.netloc)[2], headers=headers)
        found = connection.getresponse()
        body = found.read(MOST_BYTES)
    finally:
        connection.close()
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    return Reply(found.status, found.headers, document if isinstance(document, dict) else {})
