"""What ghost users may do on an instance, by the roles of their admins in RAINBO.

As text, one line for each role: `support_admin=support`. Left is the name of a group in RAINBO,
right what the instance's own `sync_ghost_users.sql` makes of it.
"""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth.models import Group

from common.terminal import is_one_line

LONGEST = 100  # characters of what a role may there
MOST = 50  # lines


def parse(text: str) -> list[tuple[str, str]]:
    """Return the pairs of a role and what it may there, in their order."""
    lines = (line.partition("=") for line in text.splitlines() if line.strip())
    return [(role.strip(), what.strip()) for role, _, what in lines]


def normal(text: str) -> str:
    """Return it as it is stored."""
    return "\n".join(f"{role}={what}" for role, what in parse(text))


def role_there(text: str, groups: Collection[str]) -> str | None:
    """Return what an admin of these groups may there: by the first line; None: nothing more."""
    return next((what for role, what in parse(text) if role in groups), None)


def roles_there(text: str) -> list[str]:
    """Return all that ghost users may be there, each once."""
    return list(dict.fromkeys(what for _, what in parse(text)))


def problem_of(text: str) -> str:
    """Why a text says no roles; empty if it does."""
    pairs = parse(text)
    if len(pairs) > MOST:
        return f"the ghost roles have {len(pairs)} lines, and may have {MOST}"
    for role, what in pairs:
        if not role or not what:
            return f"“{role or what}” is no ghost role: write ROLE=WHAT, such as read_only=viewer"
        if len(what) > LONGEST or not is_one_line(what):
            return f"what {role} may there has at most {LONGEST} characters, all of them visible"
    roles = [role for role, _ in pairs]
    if repeated := next((role for role in roles if roles.count(role) > 1), None):
        return f"the ghost roles name {repeated} twice"
    known = set(Group.objects.filter(name__in=roles).values_list("name", flat=True))
    if unknown := next((role for role in roles if role not in known), None):
        return f"RAINBO has no role {unknown}: use the name of a group"
    return ""
