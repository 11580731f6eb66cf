"""What ghost users may do on an instance, by its mapping and its own statement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from common.errors import UsageError
from syncs.models import RunState
from tenants.fleet import contract, ghost_roles
from tenants.health import checks
from tenants.models import RdsInstance
from tests.caches import everything, run_sync
from tests.instances import Instance, InstanceFleet
from tests.rows import staff

PAGE = Path(__file__).parents[3] / "docs" / "source-contract.md"
MAPPING = "support_admin=support\nsystem_admin=owner"


@pytest.fixture
def place(registered: InstanceFleet, settings: Settings, tmp_path: Path) -> Iterator[InstanceFleet]:
    """Instance 2 keeps roles of users, and has the statement that docs/source-contract.md shows."""
    registered[2].execute(
        "ALTER TABLE users ADD role text CHECK (role IN ('support', 'owner', 'viewer')); "
        "GRANT SELECT (role), INSERT (role), UPDATE (role) ON users TO rainbo"
    )
    settings.RAINBO_SOURCE_SQL = tmp_path
    (tmp_path / "roles").mkdir()
    (tmp_path / "roles" / "sync_ghost_users.sql").write_text(with_roles())
    RdsInstance.objects.filter(pk=2).update(schema_group="roles")
    yield registered
    registered[2].execute(
        "DELETE FROM users; ALTER TABLE users DROP role; DROP TYPE IF EXISTS ghost_role"
    )


def with_roles() -> str:
    """The shipped statement, changed as the page says."""
    text = (contract.SHIPPED / "sync_ghost_users.sql").read_text()
    section = PAGE.read_text().partition("### Ghost roles")[2].partition("\n## ")[0]
    changes = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", section, re.MULTILINE)
    assert len(changes) >= 6
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def change(**fields: Any) -> None:
    call_command("add_instance", "--update", "--id=2", *(f"--{k}={v}" for k, v in fields.items()))


def roles(instance: Instance) -> dict[str, str | None]:
    query = "SELECT name, role FROM users WHERE is_ghost_admin AND status = 'Active' ORDER BY id"
    return dict(instance.execute(query))


def admin(name: str, *groups: str) -> User:
    user = staff(name)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


def test_each_ghost_user_gets_the_role_of_its_admin(place: InstanceFleet) -> None:
    admin("ann", "support_admin")
    admin("bob", "system_admin", "support_admin")
    root = staff("root", is_superuser=True)
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert roles(place[2]) == dict.fromkeys(("ann", "bob", "root")), "nothing beyond the flag"
    change(**{"ghost-roles": "system_admin=owner, support_admin = support"})
    for _ in range(2):
        run = run_sync("ghost_users")
        assert roles(place[2]) == {"ann": "support", "bob": "owner", "root": None}
    part = run.targets.get(target="2")
    assert (part.added, part.changed, part.removed) == (0, 0, 0), "correct rows are not written"
    root.groups.set(Group.objects.filter(name="support_admin"))
    User.objects.get(username="ann").groups.clear()
    change(**{"ghost-roles": ""})
    run_sync("ghost_users")
    assert roles(place[2]) == {"bob": None, "root": None}
    assert place[3].execute("SELECT count(*) FROM users WHERE is_ghost_admin") == [(3,)]


def test_a_role_that_the_instance_does_not_take_stops_no_leaver(
    place: InstanceFleet, settings: Settings
) -> None:
    """Not even as a value of a type of its own, which the statement casts all roles to."""
    place[2].execute(
        "CREATE TYPE ghost_role AS ENUM ('support', 'owner'); "
        "ALTER TABLE users DROP CONSTRAINT users_role_check, "
        "ALTER role TYPE ghost_role USING role::ghost_role"
    )
    own = settings.RAINBO_SOURCE_SQL / "roles" / "sync_ghost_users.sql"
    typed = own.read_text().replace("%(roles)s::text[])", "%(roles)s::text[]::ghost_role[])")
    own.write_text(typed)
    admin("ann", "support_admin")
    leaver = admin("bob", "system_admin")
    run_sync("ghost_users")
    RdsInstance.objects.filter(pk=2).update(ghost_roles="support_admin=emperor")
    assert leaver.username in roles(place[2])
    User.objects.filter(pk=leaver.pk).update(is_active=False)
    run = run_sync("ghost_users", targets=("2",))
    assert run.state == RunState.PARTIAL
    assert "invalid input value for enum" in everything(run)
    assert list(roles(place[2])) == ["ann"]


def test_check_fleet_tries_each_role(place: InstanceFleet) -> None:
    def said() -> str:
        (checked,) = checks.check_fleet([RdsInstance.objects.get(pk=2)])
        return "\n".join(f"{finding.level}: {finding.text}" for finding in checked.findings)

    RdsInstance.objects.filter(pk=2).update(ghost_roles=MAPPING)
    assert "ok: roles/sync_ghost_users.sql: tried" in said()
    RdsInstance.objects.filter(pk=2).update(ghost_roles="read_only=viewer\nbilling_admin=emperor")
    assert "error: roles/sync_ghost_users.sql" in said()
    RdsInstance.objects.filter(pk=2).update(ghost_roles="gone=viewer")
    assert "RAINBO has no role gone" in said()
    assert roles(place[2]) == {}


def test_the_form_stores_it_as_lines(registered: InstanceFleet, client: Client) -> None:
    client.force_login(staff("root", is_superuser=True))
    url = "/admin/tenants/rdsinstance/2/settings/"
    form = client.get(url).context["adminform"].form
    data = {name: form[name].value() or "" for name in form.fields}
    data |= {"labels": "", "ghost_roles": " read_only = viewer \r\n\r\nsupport_admin=a=b"}
    answer = client.post(url, data)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    stored = RdsInstance.objects.get(pk=2).ghost_roles
    assert stored == "read_only=viewer\nsupport_admin=a=b"
    assert ghost_roles.parse(stored) == [("read_only", "viewer"), ("support_admin", "a=b")]
    answer = client.post(url, data | {"ghost_roles": "nobody=viewer"})
    assert "RAINBO has no role nobody" in answer.content.decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("support_admin", "“support_admin” is no ghost role"),
        ("=owner", "“owner” is no ghost role"),
        ("support_admin=", "“support_admin” is no ghost role"),
        ("support_admin=a\nsupport_admin=b", "name support_admin twice"),
        ("nobody=owner", "no role nobody"),
        ("support_admin=" + "x" * 101, "at most 100"),
        ("support_admin=a\u202eb", "visible"),
        ("\n".join(f"r{n}=x" for n in range(51)), "have 51 lines"),
    ],
)
def test_a_mapping_is_checked(registered: InstanceFleet, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        change(**{"ghost-roles": text.replace("\n", ",")})


def test_a_role_that_was_renamed_since_blocks_no_other_change(registered: InstanceFleet) -> None:
    change(**{"ghost-roles": "support_admin=support"})
    Group.objects.filter(name="support_admin").update(name="helpers")
    change(notes="moved")
    assert RdsInstance.objects.get(pk=2).notes == "moved"
