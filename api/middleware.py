"""Serves every address that programs use, past sessions, cookies and what else is for people.

It calls the view itself: no middleware after it sees the request, so that no cookie can count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import resolve

from api import problems
from api.openapi import problem_of
from api.problems import Problem

Handler = Callable[[HttpRequest], HttpResponseBase]

PREFIXES = ("/api/", "/metrics", "/.well-known/", "/admin/model-sync/", "/admin/pricing/")
# A page and what it shows, for people: without secrets, and with the console's headers.
PUBLIC = re.compile(r"/api/v1/(?:docs|openapi\.json)")
MOST_BYTES = 64 * 1024
WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def serve_programs(get_response: Handler) -> Handler:
    """Middleware: bounded bodies, and problem documents for every error."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        if not path.startswith(PREFIXES) or PUBLIC.fullmatch(path):
            return get_response(request)
        is_head = request.method == "HEAD"
        if is_head:
            request.method = "GET"
        try:
            _check(request)
            answer = _answer(request)
        except Exception as error:  # noqa: BLE001 (the boundary: it becomes a document)
            answer = problems.response(request, problem_of(error))
        answer = _as_problem(request, answer)
        for name, value in HEADERS.items():
            answer.headers.setdefault(name, value)
        answer.headers.setdefault("Cache-Control", "no-store")
        if isinstance(answer, HttpResponse):
            answer.headers.setdefault("Content-Length", str(len(answer.content)))
            if is_head:
                request.method, answer.content = "HEAD", b""
        return answer

    return middleware


def _answer(request: HttpRequest) -> HttpResponseBase:
    """Call the view. Raises Http404, and whatever the view does."""
    found = resolve(request.path_info)
    request.resolver_match = found
    answer: HttpResponseBase = found.func(request, *found.args, **found.kwargs)
    return answer


def _check(request: HttpRequest) -> None:
    """Refuse what no view needs to see. Raises Problem, and DisallowedHost."""
    request.get_host()
    if "\0" in request.path_info or "\0" in unquote(request.META.get("QUERY_STRING", "")):
        raise Problem(400, "The address holds a NUL character.")
    if request.headers.get("Transfer-Encoding"):
        raise Problem(411, "Send the length of the body in Content-Length.")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or not length.isascii():
        raise Problem(400, "Content-Length is no number.")
    if int(length) > MOST_BYTES:
        raise Problem(413, f"The body is longer than {MOST_BYTES:,} bytes.")
    if int(length) and request.method in WITH_BODY:
        _check_type(request.headers.get("Content-Type", ""))


def _check_type(given: str) -> None:
    kind, _, parameters = given.lower().partition(";")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters)
    if kind.strip() != "application/json" or (charset and charset[1] not in ("utf-8", "utf8")):
        raise Problem(415, "Send the body as application/json in UTF-8.")


def _as_problem(request: HttpRequest, answer: HttpResponseBase) -> HttpResponseBase:
    """An error that Django itself answers as a page becomes a document."""
    is_document = answer.headers.get("Content-Type", "").startswith(problems.CONTENT_TYPE)
    if answer.status_code < 400 or is_document:
        return answer
    document: HttpResponse
    if answer.status_code == 503:
        document = problems.response(request, Problem(503, problems.UNAVAILABLE))
    else:
        document = problems.response(request, problems.of_status(answer.status_code))
    for name in ("Allow", "Retry-After", "WWW-Authenticate"):
        if name in answer.headers:
            document[name] = answer.headers[name]
    return document
