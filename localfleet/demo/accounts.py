"""The demo's accounts at third-party services: where they are, and how one is broken."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from localfleet.demo import manage_command
from localfleet.demo.providers import CALENDAR_TOKEN, token_file
from localfleet.demo.state import State
from localfleet.servers.data_folder import write_private
from localfleet.servers.server import HOST

SERVICES = ("github", "notion", "slack", "google_calendar", "bakalari", "llm_models")
NAME = "demo"
VARIABLE = "DEMO_ACCOUNTS"
SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Account:
    """minutes: how often it is fetched."""

    service: str
    address: str
    token: str
    account: str = ""
    minutes: int = 2


def connect(root: Path, state: State, log: Path, *names: str) -> None:
    """Connect the accounts at these services, or connect them again; all without a name."""
    code = (SCRIPTS / "connect_accounts.py").read_text(encoding="utf-8")
    found = [asdict(one) | {"name": NAME} for one in _accounts(root, state)]
    wanted = [one for one in found if not names or one["service"] in names]
    env = state.environment() | {VARIABLE: json.dumps(wanted)}
    manage_command.run(["shell", "--no-imports", "-c", code], env, log)


def ensure_token(root: Path) -> None:
    """Have the demo's GitHub accept a token of its own."""
    if not token_file(root).exists():
        _write_token(root)


def break_token(root: Path) -> str:
    """Have the demo's GitHub accept another token alone. Returns what to look at."""
    _write_token(root)
    return (
        "GitHub no longer accepts the token of the demo's connection. Within three minutes the "
        "console shows that it needs to be connected again. Do that on its page, with the token "
        f"in {token_file(root)}, or by `make demo-break WHAT=github-token-repair`."
    )


def repair_token(root: Path) -> str:
    """Connect the demo's GitHub account again, with the token that is accepted now."""
    connect(root, State.load(root), root / "setup.log", "github")
    return "The demo's GitHub account is connected again; it is fetched within a minute."


def _accounts(root: Path, state: State) -> list[Account]:
    at = {name: f"http://{HOST}:{state.ports[name]}" for name in SERVICES}
    return [
        Account("github", at["github"], token_file(root).read_text(encoding="utf-8")),
        Account("notion", at["notion"], "notion-token"),
        Account("slack", f"{at['slack']}/api", "xoxb-slack-token"),
        Account("google_calendar", f"{at['google_calendar']}/calendar/v3", CALENDAR_TOKEN),
        Account("bakalari", at["bakalari"], "school-password", "pupil"),
        Account("llm_models", f"{at['llm_models']}/list", "", minutes=10),
    ]


def _write_token(root: Path) -> None:
    """Replaces the file at once: the server reads it with each request."""
    unfinished = token_file(root).with_suffix(".new")
    write_private(unfinished, secrets.token_hex(16))
    unfinished.replace(token_file(root))
