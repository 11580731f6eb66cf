"""Sessions in the database, found by a digest of their key: a copy of it signs nobody in.

Only the synchronous half is here: RAINBO is served by WSGI.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone


class SessionStore(db.SessionStore):
    """Django's own, but the browser alone has the key. `SESSION_ENGINE` names this module."""

    def exists(self, session_key: str) -> bool:
        return super().exists(digest(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        row = super().create_model_instance(data)
        row.session_key = digest(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(digest(key))

    def _get_session_from_db(self) -> Session | None:
        current = Session.objects.filter(expire_date__gt=timezone.now())
        row = current.filter(session_key=digest(self.session_key or "")).first()
        if row is None:
            self._session_key = None
        return row


def digest(key: str) -> str:
    """40 characters, as many as the column has: 160 bits of SHA-256. Keys are random."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]
