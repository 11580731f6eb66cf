"""The form of the sign-in: who has an account and no role learns why they stay outside."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

NO_ROLE = (
    "Name and password are right, but your account has no role in RAINBO yet. "
    "Ask a RAINBO administrator to give you one."
)


class SignInForm(AuthenticationForm):
    def confirm_login_allowed(self, user: Any) -> None:
        """Called once the password was right, so that nobody else learns of the account."""
        if user.is_active and not user.is_staff:
            raise ValidationError(NO_ROLE, code="no_role")
        super().confirm_login_allowed(user)
