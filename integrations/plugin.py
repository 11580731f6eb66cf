"""What a service has to offer: one class in one file.

`fetch_data` is a generator. What it yields between two `Cursor`s is published in one transaction,
together with the latter; what follows the last one is dropped. A plugin sees no token, no session
and no database: it asks its `Source`, and raises one of three errors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from common.errors import RainboError
from common.http import Answer

if TYPE_CHECKING:
    from integrations.source import Source

LIMIT = 300.0  # seconds for one connection
Position = Mapping[str, Any]  # what a plugin remembers between two runs, as JSON


@dataclass(frozen=True, slots=True)  # there are many
class Record:
    """A thing at the service. data: of JSON's types. at: when it happened, with a time zone."""

    kind: str
    id: str
    data: Mapping[str, Any]
    title: str = ""
    link: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class Gone:
    """The service says that it no longer has this. is_prefix: nor any other whose id begins so."""

    kind: str
    id: str
    is_prefix: bool = False


@dataclass(frozen=True)
class Refused:
    """A thing that is there, but can't be stored: what is stored of it stays. why: for people."""

    kind: str
    id: str
    why: str


@dataclass(frozen=True)
class Whole:
    """All of this kind were yielded since `fetch_data` was called: the others are gone.

    prefix: all of those whose id begins so, such as all events of one calendar. before: ids that
    were yielded in a run before, by a listing that goes on in this one.
    """

    kind: str
    prefix: str = ""
    before: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Unchanged:
    """The service has what it had at the last cursor, all of it: yielded alone, before a cursor.

    A plugin that compares what it read with what the cursor says of it must know that it would
    read it alike: by the same code, and in the same position. read: how many records these are.
    """

    read: int


@dataclass(frozen=True)
class Cursor:
    """Publish what came so far, and go on from here the next time.

    as_of: of the last one, since when all that came was read, if that began in a run before.
    """

    position: Position
    as_of: datetime | None = None


Item = Record | Gone | Refused | Whole | Unchanged | Cursor


class Reconnect(RainboError):
    """The service no longer accepts the credentials: a person has to connect again."""

    kind = "reconnect"


class Later(RainboError):
    """The service asks to wait. That is no failure: what was published stays."""

    kind = "later"
    transient = True

    def __init__(self, seconds: float, why: str = "the service asked to wait") -> None:
        super().__init__(why)
        self.seconds = seconds


class Broken(RainboError):
    """The service failed, or answered something that the plugin can't read."""

    kind = "broken"
    transient = True


class OutOfTime(Broken):
    """The connection took as long as one may."""

    def __init__(self) -> None:
        super().__init__("it took as long as one connection may")


@dataclass(frozen=True)
class Token:
    """A token that a person makes at the service and enters. help: where it is made.

    is_optional: without one, requests say nothing about who asks.
    """

    help: str
    prefix: str = "Bearer "
    is_optional: bool = False


@dataclass(frozen=True)
class Password:
    """A user name and password, for a service that knows nothing else.

    They are sent once, for a pair of tokens; from then on these are used, and renewed. path: where,
    below the service's address. fields: what is sent in addition.
    """

    help: str
    path: str
    fields: Mapping[str, str]
    prefix: str = "Bearer "


@dataclass(frozen=True)
class Revocation:
    """How a service is asked to withdraw what a person granted.

    url: `{client_id}` in it is the app's. token: how the body names the token; empty: the token
    proves who asks, as in any other request. encoding: of the body.
    is_authenticated: the app proves by Basic who it is. prefers_refresh: a refresh token stands
    for the grant, and does not expire as soon. over: statuses, and errors in an answer, that say
    that the token was worth nothing already.
    """

    url: str
    method: str = "POST"
    token: str = "token"  # noqa: S105 (the name of a field)
    encoding: Literal["form", "json"] = "form"
    is_authenticated: bool = False
    prefers_refresh: bool = False
    over: frozenset[int | str] = frozenset()


@dataclass(frozen=True)
class OAuth2:
    """A person allows the access at the service, in the browser: a code with PKCE, then tokens.

    The app is registered at the service; its id and secret are RAINBO_<SERVICE>_CLIENT_ID and
    RAINBO_<SERVICE>_CLIENT_SECRET. What a token's answer holds decides: it is renewed before it
    expires if `expires_in` is in it, otherwise after a 401; never without a refresh token.

    authorize, token: addresses at the service. scopes: what is asked for, and must be granted.
    client_authentication: how the app proves who it is. encoding: of what is sent for a token.
    scope_name: of the parameter with the scopes. scope_separator: between two of them. parameters:
    of the authorization in addition. within: where in its answer a service has the token, unless
    at the top. rejected: errors of the token's address that mean what `invalid_grant` does: a
    person has to connect again. revoke: None if the service can't be asked. account_page: where a
    person sees at the service what they allowed. instead: a token that can be entered, too.
    """

    authorize: str
    token: str
    scopes: tuple[str, ...] = ()
    client_authentication: Literal["basic", "body"] = "body"
    encoding: Literal["form", "json"] = "form"
    scope_name: str = "scope"
    scope_separator: str = " "
    parameters: Mapping[str, str] = field(default_factory=dict)
    within: str = ""
    rejected: frozenset[str] = frozenset()
    revoke: Revocation | None = None
    account_page: str = ""
    instead: Token | None = None
    prefix: str = "Bearer "


@dataclass(frozen=True)
class Account:
    """Who a person is at a service. id: never changes, and no other has it. name: for people."""

    id: str
    name: str


Auth = Token | Password | OAuth2


class Plugin(ABC):
    """A service.

    name: of its sync: lower-case letters and underscores. title: for people. period: how often a
    connection is fetched by default. base_url: the address of its API, which `Source` adds to
    paths; empty: each connection has its own. auth: how a person connects. limit: seconds that a
    connection may take. headers: of every request. history: fields of a kind whose changes are
    kept. has_private_paths: its addresses name people or what is theirs: they are not logged.
    answer_size: bytes of one answer at most. may_remove: the setting with the records that a
    full listing may remove. has_prices: its records are models with prices.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    period: ClassVar[timedelta]
    base_url: ClassVar[str]
    auth: ClassVar[Auth]
    limit: ClassVar[float] = LIMIT
    headers: ClassVar[Mapping[str, str]] = {}
    history: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    has_private_paths: ClassVar[bool] = False
    answer_size: ClassVar[int] = 10_000_000
    may_remove: ClassVar[str] = "RAINBO_GUARD_RECORDS_REMOVED"
    has_prices: ClassVar[bool] = False

    @abstractmethod
    def fetch_data(self, source: Source, position: Position | None) -> Iterator[Item]:
        """Yield what is new since that position; None: everything."""

    def identify(self, source: Source, granted: Mapping[str, Any]) -> Account:
        """Return who allowed the access; a service with OAuth2 has to know.

        granted: what the service answered together with the token, without secrets.
        """
        raise NotImplementedError

    def is_automatic(self) -> bool:
        """Whether connections that are due are fetched without being asked to."""
        return True

    def explain(self, answer: Answer) -> RainboError | None:  # noqa: ARG002 (for subclasses)
        """Return the error that an answer means, where the service has its own way to say it."""
        return None

    def is_rejected(self, answer: Answer) -> bool:
        """Whether the credentials were rejected: they are then renewed once, if they can be."""
        return answer.status == 401


_plugins: dict[str, Plugin] = {}


def register(plugin: Plugin) -> None:
    _plugins[plugin.name] = plugin


def all_plugins() -> dict[str, Plugin]:
    return dict(_plugins)


def by_title() -> list[Plugin]:
    return sorted(_plugins.values(), key=lambda one: one.title)


def entered(service: Plugin) -> Token | Password | None:
    """What a person can enter to connect an account; None if there is only the way by OAuth 2."""
    return service.auth.instead if isinstance(service.auth, OAuth2) else service.auth


def find(service: str) -> Plugin:
    """Raises KeyError for a service that isn't installed."""
    return _plugins[service]
