"""The mail server, as Django's backend of mail: within a deadline, and every refusal is known."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Mapping
from typing import Any

from django.core.mail.backends.smtp import EmailBackend

from common.socket_deadline import SocketDeadline

SECONDS = 30.0  # for a message; below the claim of the outbox


class TooSlow(OSError):
    """The server did not take the message in time."""


class Backend(EmailBackend):
    """refused: recipients whom the server rejected while it took the message for others, and its
    codes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.refused: Mapping[str, tuple[int, bytes]] = {}
        self._deadline = SocketDeadline(SECONDS)

    @property
    def connection_class(self) -> Any:
        return _connection(self, smtplib.SMTP_SSL if self.use_ssl else smtplib.SMTP)

    def send_messages(self, email_messages: Any) -> int:
        self._deadline = SocketDeadline(SECONDS)
        try:
            with self._deadline:
                return int(super().send_messages(email_messages))
        except (smtplib.SMTPException, OSError):
            if self._deadline.is_over:
                raise TooSlow from None
            raise

    def watch(self, connection: Any) -> None:
        self._deadline.watch(connection)


def _connection(backend: Backend, kind: type[smtplib.SMTP]) -> type[smtplib.SMTP]:
    """The class of a connection that its backend watches from its first byte on."""

    class Connection(kind):  # type: ignore[valid-type, misc]  # one of the two
        def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
            backend.watch(self)
            plain = smtplib.SMTP._get_socket(self, host, port, timeout)  # type: ignore[attr-defined]  # noqa: SLF001
            self.sock = plain
            if issubclass(kind, smtplib.SMTP_SSL):
                self.sock = self.context.wrap_socket(
                    plain, server_hostname=self._host, do_handshake_on_connect=False
                )
                try:
                    self.sock.do_handshake()
                except OSError:
                    self.sock.close()
                    raise
            found: socket.socket = self.sock
            return found

        def sendmail(self, *args: Any, **kwargs: Any) -> Any:
            backend.refused = super().sendmail(*args, **kwargs)
            return backend.refused

    return Connection
