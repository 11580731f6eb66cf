"""An admin leaves the company: RAINBO has to deactivate the ghost users on every instance."""

from __future__ import annotations

from django.contrib.auth import get_user_model

leaver = get_user_model().objects.get(username="leaver")
leaver.is_active = False
leaver.save()
