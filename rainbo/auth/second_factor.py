"""Two-factor authentication (2FA) of a user: enrol, verify and remove an authenticator."""

from __future__ import annotations

import json
from base64 import b32encode
from dataclasses import dataclass
from datetime import datetime
from secrets import token_bytes
from typing import Any
from urllib.parse import quote, urlencode

import django_otp
import segno
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils.safestring import SafeString, mark_safe

from rainbo.models import DIGITS, Authenticator, Factor, RecoveryCodes

CODES = 10
ISSUER = "RAINBO"
OFFER_SECONDS = 30 * 60  # for which an offered secret can be confirmed
NAMES = {Authenticator: "authenticator", RecoveryCodes: "recovery code"}


@dataclass(frozen=True)
class Offer:
    """A secret offered to a user. Nothing is stored until a code of it is entered."""

    secret: bytes
    user_id: int

    @classmethod
    def new(cls, user: Any) -> Offer:
        return cls(token_bytes(20), user.pk)

    @classmethod
    def opened(cls, encrypted: str, user: Any) -> Offer | None:
        """The offer that a form brings back; None when it is too old or was made for another."""
        try:
            content = json.loads(_fernet().decrypt(encrypted.encode(), ttl=OFFER_SECONDS))
            offer = cls(bytes.fromhex(content["offer"]), content["user"])
        except (InvalidToken, ValueError, KeyError):
            return None
        return offer if offer.user_id == user.pk else None

    def encrypted(self) -> str:
        content = {"offer": self.secret.hex(), "user": self.user_id}
        return _fernet().encrypt(json.dumps(content).encode()).decode()

    def in_text(self) -> str:
        """As people type it, in groups of four."""
        letters = b32encode(self.secret).decode()
        return " ".join(letters[start : start + 4] for start in range(0, len(letters), 4))

    def address(self, name: str) -> str:
        query = urlencode({"secret": b32encode(self.secret).decode(), "issuer": ISSUER})
        return f"otpauth://totp/{quote(f'{ISSUER}:{name}')}?{query}"

    def picture(self, name: str) -> SafeString:
        """Its QR code as SVG: black on white in every mode, since cameras want it so."""
        code = segno.make(self.address(name), error="m", micro=False)
        svg = code.svg_inline(scale=5, border=4, dark="#000", light="#fff", omitsize=True)
        return mark_safe(svg)  # noqa: S308 (drawn here, from modules alone)


def enrol(user: Any, offer: Offer, code: str) -> list[str] | None:
    """Accept the offer if the code proves it; return the recovery codes, shown only once.

    None when the code is wrong, or when the user already has an authenticator.
    """
    with transaction.atomic():
        get_user_model().objects.select_for_update().get(pk=user.pk)
        if Authenticator.of(user) is not None:
            return None
        device = Authenticator(user_id=user.pk, name="authenticator")
        device.set_secret(offer.secret)
        if not device.takes(code):
            return None
        device.save()
        return renew_codes(user)


def renew_codes(user: Any) -> list[str]:
    """New recovery codes in the place of the old ones."""
    kept = RecoveryCodes.of(user) or RecoveryCodes(user_id=user.pk, name="recovery codes")
    codes: list[str] = kept.renew(CODES)
    kept.save()
    return codes


def remove(user: Any) -> bool:
    """Remove authenticator and codes; return whether there was an authenticator."""
    with transaction.atomic():
        RecoveryCodes.objects.filter(user_id=user.pk).delete()
        return bool(Authenticator.objects.filter(user_id=user.pk).delete()[0])


def prove(user: Any, token: str) -> Factor | None:
    """The factor that takes the token; None when none does. Raises CredentialError."""
    device = _meant(user, token)
    if device is None:
        return None
    proved: Factor | None = django_otp.verify_token(user, device.persistent_id, device_token(token))
    return proved


def wait_until(user: Any, token: str) -> datetime | None:
    """Return until when such a token is rejected unchecked; None when it may be tried."""
    device = _meant(user, token)
    allowed, why = (True, None) if device is None else device.verify_is_allowed()
    return None if allowed or why is None else why["locked_until"]


def device_token(token: str) -> str:
    return "".join(token.split())


def _meant(user: Any, token: str) -> Factor | None:
    """Six digits are of the authenticator, everything else is a recovery code."""
    plain = device_token(token)
    is_code = plain.isascii() and plain.isdecimal() and len(plain) == DIGITS
    found: Factor | None = (Authenticator if is_code else RecoveryCodes).of(user)
    return found


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.RAINBO_CREDENTIAL_KEYS])
