"""Errors as problem documents (RFC 9457), for every address of the API and whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse

from common.read_only import READ_ONLY, is_read_only
from common.redaction import redact

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
UNAVAILABLE = "RAINBO's own database cannot be used. Try again later."
UNFORESEEN = "Something went wrong, and the log says what. Check what was done before a repetition."
RETRY_AFTER = "30"


class Problem(Exception):
    """An answer other than what was asked for.

    status: of HTTP. detail: what happened and what to do. errors: of single fields: where and
    what. headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.errors, self.headers = errors, headers or {}


def response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Return the problem as a document. Its type is `about:blank`: the status says the kind."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": redact(problem.detail),
        "instance": redact(request.path),
    }
    if problem.errors:
        document["errors"] = [
            {name: redact(text) for name, text in error.items()} for error in problem.errors
        ]
    return JsonResponse(
        document,
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers={"Cache-Control": "no-store", **problem.headers},
    )


def of(error: BaseException) -> Problem:
    """Return the problem that an exception is; one that nobody foresaw is logged."""
    if isinstance(error, Problem):
        return error
    if is_read_only(error):
        return Problem(503, f"{READ_ONLY}.", headers={"Retry-After": RETRY_AFTER})
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("the API can't use the database: %s", str(error).partition("\n")[0])
        return Problem(503, UNAVAILABLE, headers={"Retry-After": RETRY_AFTER})
    logger.error("an API request failed", exc_info=error)
    return Problem(500, UNFORESEEN)


def of_status(status: int) -> Problem:
    """Return the problem for an answer that Django gave by itself, such as 404."""
    details = {
        400: "The request can't be read.",
        404: "There is nothing at this address.",
        405: "This address does not know that method.",
    }
    return Problem(status, details.get(status, HTTPStatus(status).description or ""))
