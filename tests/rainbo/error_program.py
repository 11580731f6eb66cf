"""What goes wrong in a process that reports errors: each way, with secrets wherever one can be.

Prints the events that left, one JSON document a line, in no case anything else.
"""

from __future__ import annotations

import io
import logging
import os
from typing import Any
from wsgiref.util import setup_testing_defaults

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "rainbo.settings"
django.setup()

import sentry_sdk  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import IntegrityError, connection  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from rainbo import urls  # noqa: E402

CANARY = "QCANARYQ"
logger = logging.getLogger("rainbo.probe")


def broken(_: Any) -> Any:
    password = f"local-{CANARY}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [f"sql-{CANARY}"])
    logger.info("signed in ann-%s@x.example with password=%s", CANARY, CANARY)
    raise IntegrityError(
        f"duplicate key, see mail-{CANARY}@x.example, token={CANARY}\n"
        f"DETAIL:  Failing row contains ({CANARY}, {len(password)})."
    )


urls.urlpatterns.append(path("broken/", csrf_exempt(broken)))
settings.ALLOWED_HOSTS = ["testserver"]
body = f"password={CANARY}&name={CANARY}".encode()
request = {
    "REQUEST_METHOD": "POST",
    "PATH_INFO": "/broken/",
    "QUERY_STRING": f"q=ann-{CANARY}@x.example&key={CANARY}",
    "CONTENT_TYPE": "application/x-www-form-urlencoded",
    "CONTENT_LENGTH": str(len(body)),
    "HTTP_HOST": "testserver",
    "HTTP_AUTHORIZATION": f"Bearer {CANARY}",
    "HTTP_COOKIE": f"sessionid={CANARY}",
    "REMOTE_ADDR": f"10.0.0.1-{CANARY}",
    "wsgi.input": io.BytesIO(body),
}
setup_testing_defaults(request)
b"".join(get_wsgi_application()(request, lambda *_: print))
logger.error("no way to https://u:%s@db.example and %s@x.example", CANARY, CANARY)
logger.error("the DSN is %s", settings.RAINBO_SENTRY_DSN)
logging.getLogger("django.security.DisallowedHost").error("rejected %s", CANARY)
try:
    raise ValueError(f"api_key={CANARY}")
except ValueError:
    logger.exception("it broke", extra={"secret": CANARY})
sentry_sdk.flush(timeout=20)
