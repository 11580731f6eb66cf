"""The part of a service where people allow an app what it asks for: OAuth 2 with PKCE."""

from __future__ import annotations

import hashlib
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from localfleet.services.server import Asked, Reply

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign in</title></head>
<body><main><h1>{title}</h1><p>Signed in as {person}. An app asks for: {scopes}</p>
<form method="post">{fields}<button name="decision" value="allow">Allow</button>
<button name="decision" value="decline">Decline</button></form></main></body></html>"""


@dataclass
class Code:
    """What a code was given for."""

    client: str
    redirect: str
    challenge: str
    scopes: str
    person: str


@dataclass
class Issued:
    """A pair of tokens. until: when the access token expires, by the server's clock."""

    client: str
    person: str
    scopes: str
    until: float | None


class Authorization:
    """clients: ids and secrets of registered apps. redirects: the addresses that are registered;
    none: any. person: who is signed in in the browser. lives: seconds of an access token; None:
    for ever, and without a refresh token. rotates: a refresh token is good once. error_status: of
    an answer with an error. granted: scopes that people allow, whatever is asked; None: all.
    loses_answers: tokens are renewed, and the answer is cut off, so many times. separator: between
    scopes in an answer. says_life: answers say how long a token is accepted.
    """

    def __init__(
        self, title: str, *, lives: float | None, rotates: bool, error_status: int, separator: str
    ) -> None:
        self.title, self.lives, self.rotates = title, lives, rotates
        self.error_status, self.separator = error_status, separator
        self.clients = {"client-1": "client-secret-1"}
        self.redirects: set[str] = set()
        self.person = "ann"
        self.granted: tuple[str, ...] | None = None
        self.loses_answers = 0
        self.says_life = True
        self.clock = 0.0
        self.codes: dict[str, Code] = {}
        self.access: dict[str, Issued] = {}
        self.refresh: dict[str, Issued] = {}
        self._count = 0

    def person_of(self, token: str) -> str | None:
        """Whose access token it is; None if it isn't valid."""
        issued = self.access.get(token)
        if issued is None or (issued.until is not None and issued.until <= self.clock):
            return None
        return issued.person

    def grant(self, client: str, scopes: tuple[str, ...]) -> dict[str, object]:
        """A pair of tokens, as if the person had just allowed it."""
        issued = Issued(client, self.person, self.separator.join(scopes), None)
        return self._pair(issued, is_new=True)

    def consent(self, asked: Asked) -> Reply:
        """The page on which a person decides, and where their decision leads."""
        given = asked.parameters if asked.method == "GET" else asked.form
        redirect = given.get("redirect_uri", "")
        if given.get("client_id") not in self.clients:
            return Reply(404, "<h1>No such app</h1>", {"Content-Type": "text/html"})
        if self.redirects and redirect not in self.redirects:
            return Reply(400, "<h1>redirect_uri mismatch</h1>", {"Content-Type": "text/html"})
        if given.get("code_challenge_method") != "S256" or given.get("response_type") != "code":
            return Reply(400, "<h1>invalid request</h1>", {"Content-Type": "text/html"})
        if asked.method == "GET":
            return Reply(200, self._page(given), {"Content-Type": "text/html; charset=utf-8"})
        state = {"state": given.get("state", "")}
        if given.get("decision") != "allow":
            return _to(redirect, {"error": "access_denied"} | state)
        code = self._new("code")
        asked_for = tuple(given.get("scope", "").split())
        scopes = self.separator.join(asked_for if self.granted is None else self.granted)
        challenge = given["code_challenge"]
        self.codes[code] = Code(given["client_id"], redirect, challenge, scopes, self.person)
        return _to(redirect, {"code": code} | state)

    def token(self, asked: Asked, wrong_code: str, wrong_refresh: str) -> Reply:
        """Tokens for a code or a refresh token; the errors as the service names them."""
        form = asked.form
        client = self.authenticated(asked)
        if client is None:
            return self._refused("invalid_client")
        if form.get("grant_type") == "authorization_code":
            code = self.codes.pop(form.get("code", ""), None)
            if code is None or not self._fits(code, client, form):
                return self._refused(wrong_code)
            issued = Issued(client, code.person, code.scopes, None)
            return Reply(200, self._pair(issued, is_new=True))
        if form.get("grant_type") == "refresh_token":
            known = self.refresh.get(form.get("refresh_token", ""))
            if known is None or known.client != client:
                return self._refused(wrong_refresh)
            if self.rotates:  # which also voids the access token
                del self.refresh[form["refresh_token"]]
                self.access = {t: one for t, one in self.access.items() if one is not known}
            lost, self.loses_answers = self.loses_answers > 0, max(self.loses_answers - 1, 0)
            return Reply(200, self._pair(known, is_new=self.rotates), half=lost)
        return self._refused("unsupported_grant_type")

    def revoke_person(self, person: str, client: str) -> None:
        """Forget all that a person granted to an app."""
        for tokens in (self.access, self.refresh):
            for token in [
                token
                for token, one in tokens.items()
                if (one.person, one.client) == (person, client)
            ]:
                del tokens[token]

    def authenticated(self, asked: Asked) -> str | None:
        """The app that asks, by Basic or by its body."""
        name, secret = asked.form.get("client_id", ""), asked.form.get("client_secret", "")
        given = asked.headers.get("authorization", "")
        if given.startswith("Basic "):
            name, _, secret = b64decode(given.removeprefix("Basic ")).decode().partition(":")
        return name if self.clients.get(name) == secret and secret else None

    def _pair(self, issued: Issued, *, is_new: bool) -> dict[str, object]:
        until = None if self.lives is None else self.clock + self.lives
        kept = Issued(issued.client, issued.person, issued.scopes, until)
        token = self._new("access")
        self.access[token] = kept
        pair: dict[str, object] = {
            "access_token": token,
            "token_type": "bearer",
            "scope": issued.scopes,
        }
        if self.lives is not None:
            if self.says_life:
                pair["expires_in"] = int(self.lives)
            if is_new:
                refresh = self._new("refresh")
                self.refresh[refresh] = kept
                pair["refresh_token"] = refresh
        return pair

    def _fits(self, code: Code, client: str, form: dict[str, str]) -> bool:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(digest).decode().rstrip("=")
        wanted = (client, form.get("redirect_uri"), challenge)
        return (code.client, code.redirect, code.challenge) == wanted

    def _page(self, given: dict[str, str]) -> str:
        fields = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
            for name, value in given.items()
        )
        scopes, person = escape(given.get("scope", "")), escape(self.person)
        return PAGE.format(title=self.title, person=person, scopes=scopes, fields=fields)

    def _refused(self, code: str) -> Reply:
        return Reply(self.error_status, {"error": code, "error_description": f"{code} (made up)"})

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{self.title.lower().replace(' ', '-')}-{kind}-{self._count:06}"


def _to(redirect: str, parameters: dict[str, str]) -> Reply:
    joint = "&" if "?" in redirect else "?"
    return Reply(302, None, {"Location": f"{redirect}{joint}{urlencode(parameters)}"})
