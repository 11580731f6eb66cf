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
# What a form sends back: written otherwise, it would be stored so by whoever saves another field.
# Templates escape quotes and angle brackets, so that no name can pass for it.
_SENT_BACK = rb'(?<![\w-])value="[^"]*"|<textarea\b[^>]*>[^<]*'
_PARTS = re.compile(rb"(?P<sent_back>%s)|%s" % (_SENT_BACK, _CONTROLS.pattern))


def show(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: writes them as `\\uXXXX`, like commands do, wherever a page shows them.

    What a form holds stays as it is.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if is_page and isinstance(response, HttpResponse) and _CONTROLS.search(response.content):
            response.content = _PARTS.sub(_shown, response.content)
        return response

    return middleware


def _shown(found: re.Match[bytes]) -> bytes:
    return found[0] if found["sent_back"] else printable(found[0].decode()).encode()
