"""What the demo shows on the terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localfleet.demo.state import CURL, State

WIDTH = 52


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is being done, and how many seconds it took."""
    _say(f"{text:.<{WIDTH}}")
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        _say("\n")
        raise
    _say(f" {time.monotonic() - begin:4.1f} s\n")


def note(text: str) -> None:
    _say(f"{text}\n")


def _say(text: str) -> None:
    # Nobody may be there any more, as when the terminal was closed.
    with contextlib.suppress(OSError):
        print(text, end="", flush=True)


def ready(url: str, password: str, email: str, root: Path, state: State, arrived: str) -> None:
    """arrived: the page that shows which messages RAINBO sent."""
    manage = state.manage
    note(f"""
RAINBO serves at  {url}/admin/
Sign in as        admin
with password     {password}
('support', 'billing' and 'reader' have the same password and see what such people see.
The password is new at every start.)

To enter a tenant, sign in as support, open Find, an account, and "Enter as support".
support also needs a code: {state.code} now, and `{state.show_code}` shows the next ones.

Try in another terminal:
  {manage.format(f"find_user {email}")}
  {manage.format("rainbo_status")}
  {manage.format("sync_user_routing --dry-run")}
  make demo-break WHAT=rows         (changes four rows for the next sync to find)
Or over HTTP, with the token in a file that only you can read:
  curl --config {root}/{CURL} -X POST "{url}/api/cron/sync-integrations?interval=user_routing"

Alerts: add a channel in the console, such as Slack with the URL {arrived}/slack,
or e-mail to anybody; {arrived} shows what arrived. Then:
  make demo-break WHAT=instance     (or WHAT=workers, and WHAT=repair)

Connected services: Integrations, Connections in the console shows an account at each of six,
fetched every two minutes from servers on this machine at which something happens. Then:
  make demo-break WHAT=github-token (and WHAT=github-token-repair)

Logs: {root}/*.log
Ctrl-C stops everything; the next `make demo` goes on where this one was.
""")
