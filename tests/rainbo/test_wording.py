"""We say what other consoles say: the words that docs/glossary.md replaces don't come back.

Hits are whole words, without regard to case. A use that is right all the same is in ALLOWED, with
its reason.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = "docs/glossary.md"
THIS = Path(__file__).relative_to(ROOT).as_posix()
# What to say is in the glossary's last table; a test below compares the two.
WORDS = (
    r"signs? of life|beats?",
    r"silent|silence",
    r"rings?|ringing|rung|doorbell",
    r"rhythms?",
    r"planned (?:time|run|slot)s?",
    r"anew",
    r"tells?|telling|told",
    r"lacks?|lacked|lacking",
    r"graver?|gravest",
    r"mends?|mended|mending",
    r"doubles",
    r"in words",
    r"patience",
    r"under way",
    r"tak(?:es?|en|ing) up",
    r"put(?:s|ting)? (?:\w+ ){0,2}(?:aside|off|back)",
    r"sweeps?|bury|buries|buried|tends?|upkeep",
    r"vitals?|vital signs",
    r"tiles?|strips?",
    r"verdicts?",
    r"troubles?",
    r"not well|unwell",
    r"what (?:came|became|comes|becomes) of",
    r"out of use",
    r"(?:somebody|those|people) who may|who(?:ever)? may|who looks? after",
    r"unless told|if left out",
    r"makes? no sense",
    r"ways? to log in",
    r"RAINBO refuses|refused? by (?:a check|RAINBO)|checks? refuses?|form refuses?",
    r"seals?|sealed|sealing",
    r"second factors?",
    r"the fleet itself",
    r"besides?",
    r"narrow(?:s|ed|ing)? (?:it|down|to|a list|the list)",
    r"column words|\| words \||<th[^>]*>\s*words",
    r"for good",
    r"no more",
    r"RAINBO_(?:BEAT|WORKER_SILENCE|QUEUE_PATIENCE|LOGIN_TRIES|MANAGE)",
)
# A phrase may run on in the next line, also of a comment.
FORBIDDEN = re.compile(
    rf"(?<!\w)(?:{'|'.join(WORDS)})(?!\w)".replace(" ", r"[\s#]+"), re.IGNORECASE
)
# Names in code that are short and clear, though a text says it otherwise.
NAMES = r"told|sealed|silent|verdict"
# Replaced on pages and in docs alone: comments and docstrings of code may say them.
OF_PAGES = re.compile(r"\b(?:verdicts?|second factors?|seal(?:s|ed|ing)?)\b", re.IGNORECASE)
MARKUP = r"\{\{[^}]*\}\}|\{%[^%]*%\}|\b(?:class|id|data-[\w-]+|aria-labelledby)=\"[^\"]*\""


class Allowed(NamedTuple):
    """Where a replaced word is right: in files that match, within that context."""

    files: str
    word: str
    context: str
    reason: str


ALLOWED = (
    Allowed("*", "silent", r"silent unless", "what a command prints, not a worker"),
    Allowed("*", "strip", r"\.strip\b|\bstrip=|--no-strip-extras", "str.strip and options"),
    Allowed("*", "rings?", r"key rings?", "a set of keys"),
    Allowed("*", "tends?", r"tends? to", "what usually happens"),
    Allowed("*", "no more", r"no more than", "an amount, not a time"),
    Allowed("*", "doubles", r"waits? doubles", "a time that grows, not a duplicate"),
    Allowed("*", "verdict", r"dashboard[/.]verdict|`verdict`", "a module; the console says status"),
    Allowed("templates/*", "verdict", MARKUP, "a name of that module's, which no page shows"),
    Allowed("*.py", "silent", r"[\"']silent[\"'](?:\]|:)", "a field of the status document"),
    Allowed("*.py", NAMES, r"\{[^{}\n]*\}", "a name in an f-string"),
    Allowed(
        "*.py", "silent", r"NO_HEARTBEAT = \"worker silent\"|\"worker silent\"", "a JSON value"
    ),
    Allowed("*.py", "verdict", r"\"verdict\"", "the dashboard's name in its template"),
    Allowed(
        "*.py",
        "rhythms?",
        r"\"rhythm\"|\brhythm: str|only_rhythms_\w+|\"RHYTHMS\"",
        "stored and JSON names",
    ),
    Allowed("*.py", "tell", r"\.tell\(\)", "file.tell"),
    Allowed("*.py", "mend", r"migration\.MEND", "a name in a migration"),
    Allowed(
        "tests/upgrade/*.py", ".*", r"syncs\.(?:heartbeat|upkeep)\.\w+", "the earlier version's"
    ),
    Allowed("*.py", "verdict", r"verdict\.sql", "a file of the fault tests"),
    Allowed(GLOSSARY, ".*", r"(?s:^## Words we replace.*)", "the table that replaces them"),
    Allowed("CHANGELOG.md", r"RAINBO_\w+", r"`RAINBO_\w+` to", "names that were replaced"),
    Allowed(THIS, ".*", r"^.*$", "the words themselves"),
)


def hits(name: str, text: str) -> Iterator[str]:
    """Yield the uses of replaced words that aren't allowed; name: path of the file."""
    if name.endswith(".py") and FORBIDDEN.search(text):
        text = without_names(text)
    for match in FORBIDDEN.finditer(text):
        if not any(is_allowed(allowed, name, text, match) for allowed in ALLOWED):
            number = text.count("\n", 0, match.start()) + 1
            yield f"{name}:{number}: {match.group()}"


def is_allowed(allowed: Allowed, name: str, text: str, hit: re.Match[str]) -> bool:
    return (
        fnmatch(name, allowed.files)
        and re.fullmatch(allowed.word, hit.group(), re.IGNORECASE) is not None
        and any(
            context.start() <= hit.start() and hit.end() <= context.end()
            for context in re.finditer(allowed.context, text, re.IGNORECASE | re.MULTILINE)
        )
    )


def without_names(source: str) -> str:
    """Blank what code may say: names of NAMES, and in comments and docstrings words OF_PAGES."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    begins_statement = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        shown = token.string
        if token.type == tokenize.NAME and re.fullmatch(NAMES, shown, re.IGNORECASE):
            shown = "_" * len(shown)
        elif token.type == tokenize.COMMENT or (token.type == tokenize.STRING and begins_statement):
            shown = OF_PAGES.sub(lambda hit: re.sub(r"\S", "_", hit.group()), shown)
        if shown != token.string:
            at = starts[token.start[0] - 1] + token.start[1]
            source = source[:at] + shown + source[at + len(shown) :]
        if token.type not in {tokenize.COMMENT, tokenize.NL}:
            begins_statement = token.type in {tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    return source


def files(pattern: str) -> list[Path]:
    """Return our files that match; applied migrations and vendored code stay as they are."""
    skipped = {"migrations", "vendor", "__pycache__", "staticfiles"}
    return [
        path
        for path in sorted(ROOT.glob(pattern))
        if path.is_file()
        and not skipped & set(path.parts)
        and path.relative_to(ROOT).parts[0] not in {".venv", ".cache", ".local"}
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        *("*.md", "docs/**/*.md", ".env.example", "Makefile", ".ci/run", "deploy/**/*"),
        *("*.py", "[abcdilrst]*/**/*.py", "templates/**/*.html"),
        *("rainbo/static/rainbo/*.js", "rainbo/static/rainbo/*.css"),
    ],
)
def test_only_words_of_the_glossary_are_used(pattern: str) -> None:
    found = files(pattern)
    assert found
    read = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}
    assert not [hit for name, text in read.items() for hit in hits(name, text)]


@pytest.mark.parametrize(
    "sample",
    ["No sign\nof life for 60 s", "It is read anew.", "Who may do it?", "RAINBO_BEAT=60", "a Tile"],
)
def test_a_replaced_word_is_found(sample: str) -> None:
    (hit,) = hits("docs/page.md", f"# Page\n\n{sample}\n")
    assert hit.startswith("docs/page.md:3: ")


@pytest.mark.parametrize(
    "sample",
    ["line.strip()", "Silent unless something is wrong", "a stripe", "RAINBO_MANAGE_COMMAND"],
)
def test_a_word_that_only_looks_like_one_is_not(sample: str) -> None:
    assert not list(hits("docs/page.md", sample))


def test_the_context_of_one_word_allows_no_other() -> None:
    assert list(hits("docs/page.md", "told to strip it")) != []
    assert list(hits("docs/page.md", "It tells what tends to last")) == ["docs/page.md:1: tells"]


def test_code_may_name_what_a_page_may_not_say() -> None:
    code = '''"""Seals are judged by a verdict."""
def judge(told: str) -> str:
    # The second factor is sealed.
    return f"{told} a verdict"
'''
    assert list(hits("rainbo/page.py", code)) == ["rainbo/page.py:4: verdict"]
    assert list(hits("rainbo/page.py", "told = 1  # is told\n")) == ["rainbo/page.py:1: told"]


def test_a_template_may_name_what_it_may_not_say() -> None:
    page = '<p class="verdict">{{ verdict.word }}: {% if verdict %}the verdict{% endif %}</p>'
    assert len(list(hits("templates/page.html", page))) == 1


def test_the_glossary_replaces_the_same_words() -> None:
    table = (ROOT / GLOSSARY).read_text(encoding="utf-8").partition("## Words we replace")[2]
    left = [cell for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) if cell != "not"]
    phrases = [phrase.split(" (")[0].strip() for cell in left for phrase in cell.split(";")]
    assert [phrase for phrase in phrases if not FORBIDDEN.fullmatch(phrase)] == []
    assert [w for w in WORDS if not any(re.fullmatch(w, p, re.IGNORECASE) for p in phrases)] == []
