"""Shows control and bidirectional characters of names on pages, instead of obeying them."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from common.terminal import printable

# The characters of `common.terminal`, as UTF-8: here it is quicker than decoding a page.
_CONTROLS = re.compile(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xd8\x9c"
    rb"|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)


def show(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: writes them as `\\uXXXX`, like commands do, wherever a page holds them."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if is_page and isinstance(response, HttpResponse):
            response.content = _CONTROLS.sub(_shown, response.content)
        return response

    return middleware


def _shown(found: re.Match[bytes]) -> bytes:
    return printable(found[0].decode()).encode()
