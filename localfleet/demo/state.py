"""What the demo remembers from one start to the next, in one file that only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from django_otp.oath import totp

from localfleet.network import is_free
from localfleet.servers.data_folder import write_private
from localfleet.servers.server import HOST, Server, free_port

OWN_DATABASE = "rainbo"
BIG = "big"  # the seed of a fleet of two hundred
MANAGE = 'make manage{seed} CMD="{{}}"'
CRON_SECRET = "RAINBO_CRON_SECRET"  # noqa: S105 (a name)
CURL = "cron.curl"  # the options with which curl sends the cron secret
FOREIGN = ("RAINBO_", "DJANGO_", "PG", "Q_CLUSTER_NAME")


@dataclass
class State:
    path: Path
    settings: dict[str, str] = field(default_factory=dict, repr=False)
    role_passwords: dict[str, str] = field(default_factory=dict, repr=False)
    ports: dict[str, int] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    seed: str = ""
    event_secrets: dict[str, str] = field(default_factory=dict, repr=False)  # by instance
    second_factor: str = field(default="", repr=False)  # of the user support, as hexadecimal digits

    @classmethod
    def load(cls, root: Path) -> Self:
        """What the last start wrote; something new when there was none."""
        state = cls(root / "state.json")
        if state.path.exists():
            return cls(path=state.path, **json.loads(state.path.read_text(encoding="utf-8")))
        state.settings = _fresh_settings()
        return state

    def save(self) -> None:
        unfinished = self.path.with_suffix(".new")
        kept = asdict(self)
        del kept["path"]
        write_private(unfinished, json.dumps(kept, indent=1))
        unfinished.replace(self.path)

    def point_to(self, server: Server) -> None:
        """Let RAINBO find its own database on this server."""
        self.settings |= {"RAINBO_DB_HOST": server.host, "RAINBO_DB_PORT": str(server.port)}

    def keep_cron_secret(self, outside: Mapping[str, str] = os.environ) -> None:
        """Take the secret for cron services from outside, or one of our own; and hand it to curl.

        A file that only its owner reads: no terminal and no process list shows what is in it.
        """
        given = outside.get(CRON_SECRET) or self.settings.get(CRON_SECRET)
        self.settings[CRON_SECRET] = given or secrets.token_urlsafe(32)
        quoted = self.settings[CRON_SECRET].replace("\\", r"\\").replace('"', r"\"")
        write_private(self.path.parent / CURL, f'header = "Authorization: Bearer {quoted}"\n')

    def keep_receiver(self, port: int) -> None:
        """Let RAINBO reach the page that shows what it sent. port: of RAINBO's own pages.

        The application of the instances gets a port, too.
        """
        self.keep_ports(("receiver", "mail", "application"))
        self.settings |= {
            "RAINBO_CONSOLE_URL": f"http://{HOST}:{port}",
            "RAINBO_HTTP_PRIVATE_HOSTS": HOST,
            "RAINBO_EMAIL_HOST": HOST,
            "RAINBO_EMAIL_PORT": str(self.ports["mail"]),
            "RAINBO_EMAIL_TLS": "off",
        }

    def keep_second_factor(self) -> None:
        """Make the secret of the code that the user support signs in with."""
        self.second_factor = self.second_factor or secrets.token_hex(20)

    @property
    def code(self) -> str:
        """The code that is right now; empty if there is none yet."""
        key = bytes.fromhex(self.second_factor)
        return f"{totp(key):06}" if key else ""

    def keep_ports(self, names: Iterable[str]) -> None:
        """Have a free port for each of these, the same as before where that is still free."""
        for name in names:
            if name not in self.ports or not is_free(self.ports[name]):
                self.ports[name] = free_port()

    def role_password(self, name: str) -> str:
        """The password of RAINBO's role on this instance."""
        if name not in self.role_passwords:
            self.role_passwords[name] = secrets.token_urlsafe(24)
            self.save()
        return self.role_passwords[name]

    def is_done(self, step: str) -> bool:
        return step in self.done

    def mark_done(self, step: str) -> None:
        self.done.append(step)
        self.save()

    def environment(self, outside: Mapping[str, str] = os.environ) -> dict[str, str]:
        """RAINBO's settings, and of the outside what doesn't concern RAINBO or PostgreSQL."""
        kept = {name: value for name, value in outside.items() if not name.startswith(FOREIGN)}
        return kept | self.settings | {"RAINBO_MANAGE_COMMAND": self.manage}

    @property
    def show_code(self) -> str:
        return f"make demo-code{self._seed}"

    @property
    def _seed(self) -> str:
        return f" SEED={self.seed}" if self.seed else ""

    @property
    def manage(self) -> str:
        """How a person gives this demo a management command."""
        return MANAGE.format(seed=self._seed)


def _fresh_settings() -> dict[str, str]:
    return {
        "RAINBO_SECRET_KEY": secrets.token_urlsafe(48),
        "RAINBO_CREDENTIAL_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "RAINBO_DEBUG": "off",
        "RAINBO_HTTPS": "off",
        "RAINBO_LOG_FORMAT": "text",
        "RAINBO_WORKERS": "2",
        "RAINBO_DB_NAME": OWN_DATABASE,
        "RAINBO_DB_USER": OWN_DATABASE,
        "RAINBO_DB_PASSWORD": secrets.token_urlsafe(24),
        "RAINBO_DB_SSLMODE": "disable",
    }
