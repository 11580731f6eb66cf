"""The console's data about users: granted roles and authenticators."""

from __future__ import annotations

import hashlib
import secrets
import time
from base64 import b32encode
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone
from django_otp.models import Device, ThrottlingMixin
from django_otp.oath import TOTP

from common.encryption import Binding, EncryptedField, decrypt, encrypt

LONGEST_WAIT = 11  # failures: 2 ** 10 seconds, 17 minutes; the wait grows no further
DIGITS = 6
TOLERANCE = 1  # codes before and after the present one, for clocks that differ


class RoleGrant(models.Model):
    """A permission that a role was granted once. If it is removed later, it stays removed."""

    role = models.CharField(max_length=150)
    permission = models.CharField(max_length=255, help_text="app.codename")

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["role", "permission"], name="one_grant_each"),
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.permission}"


class Factor(ThrottlingMixin, Device):
    """Something that verifies a user next to the password. The wait doubles after each failure."""

    throttling_failure_count: Any  # of ThrottlingMixin, which brings no types
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True

    @classmethod
    def of(cls, user: Any) -> Any:
        """The person's own; None without one."""
        return cls.objects.filter(user_id=user.pk).first()

    def get_throttle_factor(self) -> int:
        return 1

    def throttle_increment(self, commit: bool = True) -> None:
        self.throttling_failure_count = min(self.throttling_failure_count, LONGEST_WAIT - 1)
        super().throttle_increment(commit)

    def verify_token(self, token: str) -> bool:
        """Whether it is right and new; a token is good once.

        Call it through `django_otp.verify_token`, which locks the row. Raises CredentialError when
        the stored secret can't be opened.
        """
        allowed, _ = self.verify_is_allowed()
        if not allowed:
            return False
        if not self.takes(token):
            self.throttle_increment()
            return False
        self.throttle_reset(commit=False)
        self.save()
        return True

    def takes(self, token: str) -> bool:
        """Whether the token is right; marks it as used, unsaved."""
        raise NotImplementedError


class Authenticator(Factor):
    """An app that shows a new code every 30 seconds (TOTP, RFC 6238). Its secret is encrypted."""

    secret = EncryptedField()
    last_step = models.BigIntegerField(default=-1, help_text="of the last code that was accepted")

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user"], name="one_authenticator_per_person"),
        ]

    def __str__(self) -> str:
        return f"the authenticator of {self.user}"

    @property
    def binding(self) -> Binding:
        return Binding(f"authenticator of user {self.user_id}", (), 0)

    def set_secret(self, secret: bytes) -> None:
        self.secret = encrypt(secret.hex(), self.binding)

    def takes(self, token: str) -> bool:
        if not (token.isascii() and token.isdecimal() and len(token) == DIGITS):
            return False
        totp = TOTP(bytes.fromhex(decrypt(self.secret, self.binding, str(self))), digits=DIGITS)
        totp.time = time.time()
        right: bool = totp.verify(int(token), TOLERANCE, self.last_step + 1)
        if right:
            self.last_step = totp.t()
        return right


class RecoveryCodes(Factor):
    """Codes on paper, for the day when the authenticator is lost. Only their digests are kept.

    A code has 80 random bits: nobody finds it from its digest.
    """

    digests = models.JSONField(default=list)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user"], name="one_set_of_codes_per_person"),
        ]

    def __str__(self) -> str:
        return f"the recovery codes of {self.user}"

    def renew(self, count: int) -> list[str]:
        """New codes in the place of all old ones; only now they can be read."""
        codes = [_new_code() for _ in range(count)]
        self.digests = [self._digest(code) for code in codes]
        self.made_at = timezone.now()
        return codes

    def takes(self, token: str) -> bool:
        digest = self._digest(token)
        if digest not in self.digests:
            return False
        self.digests = [kept for kept in self.digests if kept != digest]
        return True

    def _digest(self, code: str) -> str:
        plain = "".join(code.upper().replace("-", " ").split())
        return hashlib.sha256(f"{self.user_id}:{plain}".encode()).hexdigest()


def _new_code() -> str:
    letters = b32encode(secrets.token_bytes(10)).decode()
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))
