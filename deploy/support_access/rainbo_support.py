"""RAINBO's support access in a Django application: copy it, rainbo_assertion.py and
rainbo_events.py next to manage.py. In the settings:

    MIDDLEWARE = [..., "rainbo_support.SupportAccess"]  # the last one
    RAINBO_SUPPORT = {
        "issuer": "https://rainbo.example.com",  # RAINBO's address
        "instance": 3,  # what RAINBO calls this instance
        "keys": "https://rainbo.example.com/.well-known/jwks.json",  # or a file of support_keys
    }

DEFAULTS has what else can be set. Views find the session in `request.support`, or None there.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from functools import partial
from html import escape
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import signing
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import get_script_prefix
from rainbo_assertion import Keys, Refused, Unavailable, verify
from rainbo_events import Reporter

log = logging.getLogger("rainbo_support")
DEFAULTS: dict[str, Any] = {
    "database": "default",  # the alias of the writer; it, the instance and secret may be functions
    "secret": "",  # of application_secret: with it, RAINBO's trail has what a session did
    "ghost": "SELECT 1 FROM users WHERE id = %s AND rainbo_admin_id = %s AND is_ghost_admin"
    " AND status = 'Active'",
    "tenant": "SELECT 1 FROM tenants WHERE id = %s",
    "tenant_of": lambda _: None,  # the id of the tenant that a request is for, as text
    "protected": r"passw|e-?mail|two-?factor|2fa|mfa|otp|recovery|token|api-?key",  # in a path
    "sign_in": lambda request, ghost: setattr(request, "user", ghost()),
    "home": "",  # where one arrives, below the application's root
}
REDEEM = """
    INSERT INTO rainbo_support_sessions AS known
        (jti, ghost_id, tenant_id, person, reason, ticket, read_only, redeemed_at, active_at,
         ends_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, now(), now(), now() + make_interval(secs => %s))
    ON CONFLICT (jti) DO UPDATE SET refused = known.refused + 1, refused_at = now()
    RETURNING refused = 0"""
REQUEST = """
    UPDATE rainbo_support_sessions SET active_at = now(), requests = requests + 1
     WHERE jti = %s AND redeemed_at IS NOT NULL AND ended_at IS NULL AND ends_at > now()
    RETURNING jti::text, ghost_id, tenant_id, person, reason, read_only,
              ceil(extract(epoch FROM ends_at - now()) / 60)::integer"""
BLOCK = "UPDATE rainbo_support_sessions SET blocked = blocked + 1 WHERE jti = %s"
END = """UPDATE rainbo_support_sessions SET ended_at = now(), ended_by = 'the person'
          WHERE jti = %s AND ended_at IS NULL"""
FIELDS = ("jti", "ghost_id", "tenant_id", "person", "reason", "read_only", "minutes")
COOKIE = "rainbo_support"


class SupportAccess:
    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.options = {**DEFAULTS, **settings.RAINBO_SUPPORT}
        self.keys, self.issuer = Keys(self.options["keys"]), self.options["issuer"].rstrip("/")
        self.reporters: dict[int, Reporter] = {}

    def __call__(self, request: Any) -> HttpResponse:
        request.support = None
        try:
            if request.path_info == "/rainbo/enter":
                return self.enter(request)
            if COOKIE not in request.COOKIES:
                return self.get_response(request)
            return self.inside(request)
        except Refused as error:
            log.warning("support access refused: %s", error)
            return page(403, "Support access was refused. Enter again from RAINBO.")
        except (DatabaseError, Unavailable) as error:
            why = str(error).partition("\n")[0] or type(error).__name__
            log.error("support access is unavailable: %s", why)
            return page(503, "Support access is unavailable now. Try again in a minute.")

    def enter(self, request: Any) -> HttpResponse:
        if request.method != "POST" or int(request.META.get("CONTENT_LENGTH") or 0) > 16_384:
            return page(405 if request.method != "POST" else 413, "A form is sent here by RAINBO.")
        if len(given := request.POST.getlist("assertion")) != 1:
            raise Refused("no assertion")
        claims = verify(given[0], self.keys, self.issuer, self.of("instance", request), time.time())
        jti, ghost, person = claims["jti"], claims["sub"], claims["act"]
        if not self.execute(request, self.options["ghost"], ghost, person["sub"]):
            raise Refused(f"{jti}: no such active ghost user here")
        if not self.execute(request, self.options["tenant"], claims["tenant"]):
            raise Refused(f"{jti}: no such tenant here")
        rest = [claims[name] for name in ("reason", "ticket", "read_only", "session_seconds")]
        stored = [jti, ghost, claims["tenant"], person["name"], *rest]
        if self.execute(request, REDEEM, *stored) != [(True,)]:
            raise Refused(f"{jti}: it was used or ended before")
        answer = HttpResponseRedirect(get_script_prefix() + self.options["home"].lstrip("/"))
        answer.status_code, answer["Cache-Control"] = 303, "no-store"
        secure = settings.SESSION_COOKIE_SECURE or request.is_secure()
        cookie = {"path": get_script_prefix(), "secure": secure, "httponly": True}
        answer.set_cookie(COOKIE, self.signer(request).sign(jti), samesite="Lax", **cookie)
        return answer

    def inside(self, request: Any) -> HttpResponse:
        try:
            jti = self.signer(request).unsign(request.COOKIES[COOKIE])
            found = self.execute(request, REQUEST, jti)
        except signing.BadSignature:
            found = []
        if not found or (request.path_info, request.method) == ("/rainbo/end", "POST"):
            if found:
                self.execute(request, END, jti)
            over = page(200 if found else 403, "The support session is over.")
            over.delete_cookie(COOKIE, path=get_script_prefix(), samesite="Lax")
            return over
        session = SimpleNamespace(**dict(zip(FIELDS, found[0], strict=True)))
        session.report = partial(self.report, request, session)
        request.support, path = session, request.path_info
        for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"):
            request.META.pop(name, None)  # the browser may have a page without the banner
        if why := self.why_blocked(request):
            self.execute(request, BLOCK, jti)
            session.report(f"blocked.{request.method}", f"403 {path}")
            return banner(page(403, why), session)
        self.options["sign_in"](request, lambda: self.ghost(request))
        answer = banner(self.get_response(request), session)
        session.report(f"request.{request.method}", f"{answer.status_code} {path}")
        return answer

    def report(self, request: Any, session: Any, action: str, text: str = "") -> None:
        instance, secret = self.of("instance", request), self.of("secret", request)
        if secret and instance not in self.reporters:
            self.reporters.setdefault(instance, Reporter(self.issuer, instance, secret))
        if secret:
            self.reporters[instance].add(session, action, text)

    def why_blocked(self, request: Any) -> str:
        if self.options["tenant_of"](request) not in (None, request.support.tenant_id):
            return "The support session is for another tenant."
        if re.search(self.options["protected"], request.path_info, re.IGNORECASE):
            return "Support sessions have no access to passwords, e-mail, factors and tokens."
        is_safe = not request.support.read_only or request.method in ("GET", "HEAD", "OPTIONS")
        return "" if is_safe else "The support session is read-only: nothing was changed."

    def ghost(self, request: Any) -> Any:
        users = get_user_model()._default_manager.using(self.of("database", request))
        if user := users.filter(pk=request.support.ghost_id).first():
            return user
        raise Refused(f"the user model does not find the ghost user {request.support.ghost_id}")

    def of(self, option: str, request: Any) -> Any:
        value = self.options[option]
        return value(request) if callable(value) else value

    def signer(self, request: Any) -> signing.Signer:
        return signing.Signer(salt=f"rainbo_support:{self.of('instance', request)}")

    def execute(self, request: Any, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with connections[self.of("database", request)].cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


def banner(response: Any, session: Any) -> Any:
    """Put the banner on a page; the browser stores nothing of a support session."""
    response["Cache-Control"] = "no-store"
    if not response.get("Content-Type", "").startswith("text/html"):
        return response
    if response.streaming:
        response = HttpResponse(b"".join(response), headers=response.headers)
    shown = (
        '<aside id="rainbo-support" role="status" style="position:sticky;top:0;z-index:9999;'
        'padding:.5rem 1rem;background:#7a1f1f;color:#fff;font:1rem/1.5 sans-serif">Support session'
        f" of {escape(session.person)} in tenant {escape(session.tenant_id)}, "
        f"{'read-only, ' * session.read_only}ends in {session.minutes} min: "
        f'{escape(session.reason)} <form method="post" action="{get_script_prefix()}rainbo/end" '
        'style="display:inline"><button>end now</button></form></aside>'
    )
    text = response.content.decode(response.charset)
    place = re.search("<body[^>]*>", text, re.IGNORECASE)
    if place or re.search("<(!doctype|html)", text, re.IGNORECASE):
        end = place.end() if place else len(text)
        response.content = text[:end] + shown + text[end:]
        response["Content-Length"] = str(len(response.content))
    return response


def page(status: int, text: str) -> HttpResponse:
    html = f'<!DOCTYPE html><html lang="en"><title>Support access</title><body><p>{text}</p>'
    return HttpResponse(html, status=status, headers={"Cache-Control": "no-store"})
