"""The API's description (OpenAPI 3.1), and problem documents for what ninja itself refuses."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import Resolver404
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from api import problems
from api.problems import Problem
from common.errors import RainboError, UsageError
from common.terminal import printable_line
from integrations import plugin
from syncs.engine import registry

MOST_ERRORS = 20  # fields that one answer names

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong, and what to do (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
ALWAYS = {
    400: "The request can't be read",
    401: "No valid token",
    403: "The token has no such scope",
    404: "There is nothing at this address",
    422: "A parameter or field is wrong",
    429: "Too many requests with a wrong token",
    503: "RAINBO's own database can't be used",
}
WITH_BODY = {
    409: "Not in this state",
    411: "The length is missing",
    413: "The body is too long",
    415: "The body is not JSON in UTF-8",
}
NAMES_A_SYNC = (("path", "name"), ("query", "sync"))  # parameters


class LocalSwagger(Swagger):
    """The page of the description, whose scripts and styles are our own server's."""

    template_cdn = str(settings.NINJA_DIR / "templates" / "ninja" / "swagger.html")


class DocumentedApi(NinjaAPI):
    """Describes the errors of every operation and answers all of them as problem documents."""

    def get_openapi_schema(self, **given: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**given)
        schema["components"].setdefault("schemas", {})["Problem"] = PROBLEM
        every = [sync.name for sync in registry.all_syncs()]
        scheduled = [sync.name for sync in registry.scheduled_syncs()]
        for path, operations in schema["paths"].items():
            names = scheduled if "/schedules/" in path else every
            for method, operation in operations.items():
                for parameter in operation["parameters"]:
                    if parameter["name"] == "service":
                        parameter["schema"] |= {"enum": sorted(plugin.all_plugins())}
                    if (parameter["in"], parameter["name"]) in NAMES_A_SYNC:
                        parameter["schema"] |= {"enum": names}
                # Of the web server, before any code of ours sees the request.
                operation["responses"].setdefault(414, {"description": "The address is too long"})
                expected = ALWAYS | (WITH_BODY if method != "get" else {})
                for status, text in expected.items():
                    operation["responses"].setdefault(status, _described(text))
        return schema

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        """Called for each admitted request, before its parameters are read."""
        self.check_query(request)
        return super().create_temporal_response(request)

    def check_query(self, request: HttpRequest) -> None:
        """Refuse parameters that the operation doesn't know, and repeated ones. Raises Problem."""
        found = request.resolver_match
        known = self._parameters.get((found.route if found else "", request.method or ""), set())
        wrong = [
            {"field": printable_line(name), "detail": detail}
            for name, values in request.GET.lists()
            for detail in (
                *(("there is no such parameter",) if name not in known else ()),
                *(("it is given more than once",) if len(values) > 1 else ()),
            )
        ][:MOST_ERRORS]
        if wrong:
            names = ", ".join(error["field"] for error in wrong)
            raise Problem(422, f"Wrong: {names}. See errors.", errors=wrong)

    @cached_property
    def _parameters(self) -> dict[tuple[str, str], set[str]]:
        """The parameters in the query of each route and method, as the description has them."""
        return {
            (path.lstrip("/").replace("{", "<").replace("}", ">"), method.upper()): {
                parameter["name"] for parameter in operation["parameters"]
            }
            for path, operations in self.get_openapi_schema()["paths"].items()
            for method, operation in operations.items()
        }

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        return problems.response(request, problem_of(exc))


def problem_of(error: BaseException) -> Problem:
    """Return the problem that an exception of a view is."""
    if isinstance(error, ValidationError):
        return _of_validation(error.errors)
    if isinstance(error, HttpError):
        inner = error.__cause__
        return inner if isinstance(inner, Problem) else Problem(error.status_code, str(error))
    if isinstance(error, Resolver404):
        return problems.of_status(404)
    if isinstance(error, Http404):
        text = str(error)
        return problems.of_status(404) if text.startswith("docs_url") else Problem(404, text)
    if isinstance(error, DisallowedHost):
        return Problem(400, "RAINBO does not serve this host name: see RAINBO_ALLOWED_HOSTS.")
    if isinstance(error, PermissionDenied):
        return Problem(403, "This token may not do that.")
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "The body is too long.")
    if isinstance(error, UsageError):
        return Problem(422, f"{error}.")
    if isinstance(error, RainboError):
        return Problem(409, f"{error}.")
    return problems.of(error)


def _of_validation(errors: Iterable[dict[str, Any]]) -> Problem:
    found = [
        {
            "field": printable_line(".".join(map(str, _place(error["loc"])))) or "body",
            "detail": printable_line(str(error["msg"])),
        }
        for error in errors
    ][:MOST_ERRORS]
    names = ", ".join(dict.fromkeys(error["field"] for error in found))
    return Problem(422, f"Wrong: {names}. See errors.", errors=found)


def _place(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without where it is, and for a body without the name that the view gives to it."""
    return location[2:] if location[0] == "body" else location[1:]


def _described(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {problems.CONTENT_TYPE: {"schema": schema}}}
