"""Masks secrets in text and values that are about to be logged, stored or shown.

The one list of secret names, for logs, stored errors, the audit log and exception reports. What
looks like a secret is masked even at the price of a harmless word; every pattern takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time

MASK = "***"

# A name that holds one of these holds a secret …
_NAMES = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|authorization|cookie|token|credential[_-]?keys?"
    r"|(?:api|auth|private|access|signing|encryption|account)[_-]?keys?"
    r"|scram[_-](?:client|server)[_-]keys?|sess(?:ion)?[_-]?(?:id|key)"
)
# … unless it ends in one of these: then it says something about the secret.
_ABOUT = re.compile(
    r"[_-](?:age|count|env|expir(?:y|es|es_at|ed|ed_at|ation)|file|httponly|limit|name|path|prefix"
    r"|samesite|secure|ttl|type|uri|url)"
)
# A number under one of these counts something or is an id: RAINBO's fencing token, "tokens: 5".
_COUNTED = re.compile(r"(?:(?:fencing|lease)[_-])?token|(?:[a-z]+[_-])*tokens|session[_-]id")
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
# Addresses whose path is the secret: anyone who has one may use it.
_SECRET_ADDRESS = re.compile(r"(?:ping|webhook)_?url", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_API_TOKEN = re.compile(r"(?P<keep>\brbo_[a-z0-9]{12}_)[\w-]{20,}")
_FERNET = re.compile(r"gAAAAA[\w-]{20,}=*")
# No group is repeated possessively: Python before 3.11.5 matches wrongly then (its issue 106052).
# A run of word characters is tried once, from its first "eyJ" on.
_JWT = re.compile(r"(?<![\w-])(?P<keep>(?:(?!eyJ)[\w-])*)eyJ[\w-]{5,}+\.[\w-]++(?:\.[\w-]*+){0,3}")
_BEARER = re.compile(
    r"\b(?P<keep>Bearer(?:\s+|%20|\+))"
    r"(?!realm=|(?:auth(?:entication|orization)?|header|is|scheme|tokens?|was)(?:[\s.,:;!?)]|\Z))"
    r"""(?!(?-i:[a-z_]+)=[^\s=])[^\s'"<>,;]+""",
    re.IGNORECASE,
)
_BASIC = re.compile(
    r"\b(?P<keep>(?i:Basic)(?:\s+|%20|\+))(?!(?i:auth))(?=[a-z/+]*[A-Z0-9=])[\w+/=-]{6,}"
)
_KEY_AS_USER = re.compile(r"(?P<keep>://)[0-9a-f]{32}(?=@)")  # the DSN of Sentry
_EMAIL = re.compile(r"(?<![^\s@'\"<>(),;:])[^\s@'\"<>(),;:]++@[^\s@'\"<>(),;:]++")
_WORD = re.compile(r"(?<!\S)\S++")
_USER = re.compile(r"://[^\s:/@]*+:")

# Addresses that need no other secret than their path.
_HOOK = re.compile(
    r"(?P<keep>hooks\.slack\.com(?::\d+)?/\w{1,20}/|/(?:services|workflows|triggers)/(?=T\w*/)"
    r"|/api(?:/v\d+)?/webhooks/(?=\d))[^\s'\"<>?#]+"
)
_LONG_HOOK = re.compile(
    r"(?P<keep>/webhooks?\w{0,3}/|://[^\s/'\"<>]{1,255}/hooks/)"
    r"(?=[^\s'\"<>?#]{0,300}?(?<![\w-])[\w-]{16})[^\s'\"<>?#]+",
    re.IGNORECASE,
)
# Where programs have been configured with a secret in place of a public id.
_KEY_IN_PATH = re.compile(r"(?P<keep>/admin/+pricing/+sync/+)[^\s/'\"<>?#]+", re.IGNORECASE)

# Parts of addresses and cookies that are a secret only where they are long.
_LONG_VALUE = re.compile(
    r"(?P<keep>(?:(?<=[?&])(?:key|sig|signature|code|auth)|(?<![\w-])(?:session|sess|sid))=)"
    r"[\w.%+/=~:-]{16,}",
    re.IGNORECASE,
)

_QUOTE = r"""(?:\\*["']|&(?:quot|\#39|\#x27);|%2[27])"""
_PAIR = re.compile(
    rf"""
      (?:(?<![\w-])(?P<name>(?=[\w-]*?(?:{_NAMES}))[\w-]++) | \b(?P<spaced>(?:api|private)\ keys?))
      (?: (?:\]|%5D)* {_QUOTE}? [^\S\r\n]*+ (?P<sep>:=|[=:]{{1,2}}>?|%3[AD]) [^\S\r\n]*+
        | (?P<comma>\\*["']\s*+,\s*+(?=[bru]?\\*["']))
        | (?P<blank>[^\S\r\n]++)
      )""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTED = re.compile(
    r"""
      [bru]{0,2}"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)
    | [bru]{0,2}'[^'\\]*+(?:\\.[^'\\]*+)*(?:'|\\?\Z)
    | [bru]{0,2}(?P<quote>\\+["']|&(?:quot|\#39|\#x27);).*?(?:(?<!\\)(?P=quote)|\Z)
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"\d[\d.,]*+(?![\w@/+=%-])")
_MASKED = re.compile(r"""\*{3}(?=[\s'",;&#)\]}]|\Z)""")
_IN_QUERY = re.compile(r"""[^\s&#'"<>]*+""")
_BARE = re.compile(
    r"""(?:(?:basic|bearer|digest|token)[^\S\r\n]++)?[^\s'"]*+(?:['"](?=[^\s'",;)\]}])[^\s'"]*+)*""",
    re.IGNORECASE,
)
_BRACKETS = re.compile(
    r""""[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)|'[^'\\]*+(?:\\.[^'\\]*+)*(?:'|\\?\Z)"""
    r"|[\[({]|[\])}]",
    re.DOTALL,
)
_LINE = {quote: re.compile(rf"[^\r\n{quote}]*+") for quote in ("", "'", '"')}


def is_secret(name: str, value: object = "") -> bool:
    """Whether a value of this name is to be masked."""
    if value and _SECRET_ADDRESS.search(name):
        return True
    if not _SECRET_NAME.search(name):
        return False
    plain = _HUMP.sub("_", name).lower()
    if any(found.end() == len(plain) for found in _ABOUT.finditer(plain)):
        return False
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return not (is_number and _COUNTED.fullmatch(plain))


def redact(text: str) -> str:
    """The text with whatever looks like a secret masked."""
    text = _PRIVATE_KEY.sub(MASK, text)
    if "://" in text:
        text = _WORD.sub(lambda word: _without_password(word[0]), text)
    for hook in (_HOOK, _LONG_HOOK, _KEY_IN_PATH):
        text = hook.sub(rf"\g<keep>{MASK}", text)
    text = _without_pairs(text)
    for shape in (_BEARER, _BASIC, _JWT, _API_TOKEN, _LONG_VALUE, _KEY_AS_USER):
        text = shape.sub(rf"\g<keep>{MASK}", text)
    return _FERNET.sub(MASK, text)


def hide_emails(text: str) -> str:
    """The text without e-mail addresses, for what leaves RAINBO."""
    return _EMAIL.sub("(e-mail)", text)


def redact_value(name: str, value: object) -> object:
    """A structured field: masked by its name, or cleaned inside; what is no JSON becomes text."""
    if is_secret(name, value):
        return MASK
    if value is None or isinstance(value, int | float | date | time):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): redact_value(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value("", item) for item in value]
    if isinstance(value, BaseException):
        return redact(f"{type(value).__name__}: {value}")
    if isinstance(value, bytes | bytearray | memoryview):
        # Not str(): it would escape backslashes, and so end a quoted value too early.
        return redact(bytes(value).decode(errors="backslashreplace"))
    return redact(str(value))


def _without_password(word: str) -> str:
    """`scheme://user:password@host` without its password, which may hold anything but blanks."""
    end = word.rfind("@")
    found = _USER.search(word, 0, end) if end > 0 else None
    return f"{word[: found.end()]}{MASK}{word[end:]}" if found else word


def _without_pairs(text: str) -> str:
    """The text with the values of secret names masked, however the two are written."""
    kept: list[str] = []
    at = 0
    while found := _PAIR.search(text, at):
        start = found.end()
        end = _end_of_value(text, found) if _is_pair(text, found) else start
        kept += [text[at:start], MASK if end > start else ""]
        at = end
    return "".join([*kept, text[at:]])


def _is_pair(text: str, found: re.Match[str]) -> bool:
    """Whether a value follows: after a blank or a comma, only where a name says so."""
    name, start = found["name"], found.start()
    if name is None:
        return found["sep"] is not None
    if not is_secret(name.strip("-")):
        return False
    if found["comma"] is not None:  # ('password', '…'), ["--password", "…"]
        before = text[max(0, start - 4) : start]
        return name.startswith("--") or re.search(r"\([bru]?\\*[\"']\Z", before) is not None
    if found["blank"] is not None:  # --password …, ALTER ROLE … PASSWORD '…'
        in_sql = name.lower() == "password" and text.startswith("'", found.end())
        return name.startswith("--") or in_sql
    return True


def _end_of_value(text: str, found: re.Match[str]) -> int:
    start, name = found.end(), found["name"] or ""
    before = text[max(0, found.start() - 3) : found.start()]
    is_count = name and not is_secret(name, 0) and _NUMBER.match(text, start)
    if is_count or _MASKED.match(text, start):
        return start
    if quoted := _QUOTED.match(text, start):
        return quoted.end()
    if text[start : start + 1] in ("[", "(", "{"):
        return _end_of_brackets(text, start)
    value = _BARE
    if before.upper().endswith(("?", "&", "%3F", "%26")):
        value = _IN_QUERY
    elif found["sep"] == ":" and re.search("authorization|cookie|^x-", name, re.IGNORECASE):
        quote = before[-1:] if before[-1:] in ("'", '"') else ""
        value = _LINE[quote]
    matched = value.match(text, start)
    return matched.end() if matched else start


def _end_of_brackets(text: str, start: int) -> int:
    """Where what opens here closes; the end of the text when it never does."""
    depth = 0
    for found in _BRACKETS.finditer(text, start):
        if found[0] in ("[", "(", "{"):
            depth += 1
        elif found[0] in ("]", ")", "}"):
            depth -= 1
        if depth == 0:
            return found.end()
    return len(text)
