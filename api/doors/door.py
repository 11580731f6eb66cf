"""What every door does: it takes a token, and two methods at most."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, NoReturn, ParamSpec, cast

from django.http import Http404, HttpRequest, HttpResponse

from api.auth import authorize
from api.parsing import parse_object
from api.problems import Problem
from api.tokens import Caller

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, Caller, P], HttpResponse]
Door = Callable[Concatenate[HttpRequest, P], HttpResponse]


def door(*methods: str, scope: str | Callable[..., str]) -> Callable[[View[P]], Door[P]]:
    """Decorate a view that gets the request and the caller, whose token has the scope.

    scope: or a function that returns it, given what the view is given.
    Errors are raised; `api.middleware` answers them. HEAD is no method of a door: here even GET
    may start a sync.
    """

    def decorate(view: View[P]) -> Door[P]:
        @wraps(view)
        def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            needed = scope if isinstance(scope, str) else scope(request, *args, **kwargs)
            caller = authorize(request, needed, is_cron=True)
            if request.META["REQUEST_METHOD"] not in methods:
                detail = f"This address takes {' and '.join(methods)} alone."
                raise Problem(405, detail, headers={"Allow": ", ".join(methods)})
            return view(request, caller, *args, **kwargs)

        return cast("Door[P]", answer)

    return decorate


def fields(request: HttpRequest, *names: str) -> dict[str, Any]:
    """Return the body's fields; none for an empty body. Raises Problem 400, or 422 for others."""
    found = parse_object(request.body) if request.body else {}
    if unknown := sorted(found.keys() - set(names)):
        known = f"It takes {', '.join(names)}." if names else "It takes none."
        errors = [{"field": name, "detail": "unknown"} for name in unknown[:20]]
        raise Problem(422, f"This address knows no such field. {known}", errors=errors)
    return found


def parameter(request: HttpRequest, name: str, default: str = "") -> str:
    """Return a parameter of the query. Raises Problem 422 for any other, or if it comes twice."""
    if unknown := sorted(request.GET.keys() - {name}):
        raise Problem(422, f"This address takes no {unknown[0]!r}: its parameter is {name}.")
    values = request.GET.getlist(name, [default])
    if len(values) > 1:
        raise Problem(422, f"Give {name} once.")
    return values[0]


def nothing(request: HttpRequest) -> NoReturn:  # noqa: ARG001
    """Answer 404 where no door is."""
    raise Http404
