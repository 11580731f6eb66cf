#!/usr/bin/env python3
"""Says whether the syncs of RAINBO are healthy, for CI and for monitoring. Needs requests.

API_URL (or APP_URL)  where RAINBO serves
CRON_SECRET           a token with the scope syncs:read; or OPERATOR_TOKEN, or ADMIN_KEY
HOURS                 how far to look back; default: 24
JOBS                  names, separated by commas: the last execution of each must have succeeded
MAX_AGE_HOURS         and ended since; default: HOURS

Prints one line for each job and each problem. Exit codes: 0 healthy · 1 a problem, also an unknown
state · 2 can't work as configured (also: token rejected).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

HEALTHY, PROBLEM, MISCONFIGURED = 0, 1, 2
TIMEOUT = (10, 30)  # seconds to connect, and between two pieces of an answer


class Misconfigured(Exception):
    """Nothing can be found out like this."""


def main() -> int:
    try:
        url = (os.environ.get("API_URL") or os.environ.get("APP_URL") or "").rstrip("/")
        if not url.startswith(("https://", "http://")):
            raise Misconfigured("API_URL must be set, and begin with https://")
        problems = [*probes(url), *_understood(jobs(url))]
    except Misconfigured as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    for problem in problems:
        print(f"problem: {problem}")
    print(f"{len(problems)} problems" if problems else "healthy")
    return PROBLEM if problems else HEALTHY


def probes(url: str) -> Iterator[str]:
    """Yield what is wrong with the process, its database and the workers."""
    for name in ("/health", "/health/ready", "/health/worker"):
        try:
            answer = requests.get(url + name, timeout=TIMEOUT, allow_redirects=False)
            reason = document(answer).get("reason", "") if answer.status_code != 200 else None
        except requests.RequestException as error:
            yield f"{name}: no answer ({type(error).__name__})"
        else:
            if reason is not None:
                yield f"{name}: {answer.status_code} {reason}".rstrip()


def jobs(url: str) -> Iterator[str]:
    """Print each job and yield what is wrong with one."""
    names = ("CRON_SECRET", "OPERATOR_TOKEN", "ADMIN_KEY")
    token = next((os.environ[name] for name in names if os.environ.get(name)), "")
    if not token:
        raise Misconfigured("CRON_SECRET is not set")
    hours = number("HOURS", 24)
    try:
        answer = requests.get(
            f"{url}/api/cron/monitoring",
            params={"timeRange": str(hours)},
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        yield f"monitoring: no answer ({type(error).__name__})"
        return
    if answer.status_code in (401, 403, 422) or 300 <= answer.status_code < 400:
        detail = str(document(answer).get("detail", "")).replace(token, "***")
        raise Misconfigured(f"RAINBO answered {answer.status_code}. {detail}".rstrip())
    if answer.status_code != 200:
        yield f"monitoring: RAINBO answered {answer.status_code}"
        return
    found = document(answer)
    stats = {job["jobName"]: job for job in found["stats"]}
    for name, job in stats.items():
        rate = job["successRate"]
        shown = "unknown" if rate is None else f"{rate:.1%}"
        print(f"{name}: {job['totalExecutions']} executions, success rate {shown}")
    yield from (alert["message"] for alert in found["alerts"])
    wanted = filter(None, (name.strip() for name in os.environ.get("JOBS", "").split(",")))
    oldest = datetime.now(UTC) - timedelta(hours=number("MAX_AGE_HOURS", hours))
    for name in wanted:
        if problem := outdated(stats.get(name), oldest):
            yield f"{name}: {problem}"


def _understood(found: Iterator[str]) -> Iterator[str]:
    try:
        yield from found
    except (AttributeError, KeyError, TypeError, ValueError):
        yield "monitoring: the answer is not RAINBO's"


def outdated(job: dict[str, Any] | None, oldest: datetime) -> str:
    if job is None:
        return "RAINBO knows no such job"
    if job["lastExecution"] is None:
        return "has never run"
    if job["lastStatus"] != "success":
        return f"its last execution ended as {job['lastStatus']}"
    last = datetime.strptime(job["lastExecution"], "%Y-%m-%dT%H:%M:%S%z")
    return "" if last >= oldest else f"its last execution ended at {job['lastExecution']}"


def number(name: str, usual: int) -> int:
    text = os.environ.get(name) or str(usual)
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise Misconfigured(f"{name} must be a whole number")
    return int(text)


def document(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
