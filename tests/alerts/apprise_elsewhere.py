"""The program that sends by Apprise, with the services' hosts played by a server of a test.

apprise_elsewhere.py URL [SECONDS] [each|really]: what it would send to a service goes to this URL,
with the header X-Meant-For; seconds: of its time-outs. each: stdin has many jobs, not one. really:
nothing is led elsewhere, but all names resolve to the URL's place.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

PROGRAM = Path(__file__).parents[2] / "alerts/channels/apprise_child.py"
spec = importlib.util.spec_from_file_location("apprise_child", PROGRAM)
assert spec
assert spec.loader
child: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
URL, SECONDS, MODE = (*sys.argv[1:], "", "")[:3]


class Elsewhere(child.Guard):
    def exchange(self, request: Any) -> requests.Response:
        place = urlsplit(request.url)
        request.headers["X-Meant-For"] = place.hostname
        request.url = f"{URL.rstrip('/')}{place.path}?{place.query}"
        adapter = ADAPTER()
        return adapter.send(request, stream=True, timeout=child.TIMEOUT)


ADAPTER = requests.adapters.HTTPAdapter  # of requests, before the program replaces it

if SECONDS:
    child.TIMEOUT = (float(SECONDS), float(SECONDS))
if MODE == "really":
    known = socket.getaddrinfo
    here = ("127.0.0.1", urlsplit(URL).port)
    socket.getaddrinfo = lambda _, __=0, *rest, **more: known(*here, *rest, **more)
    child.main()
elif MODE == "each":
    child.Guard = Elsewhere
    results = []
    requests.sessions.HTTPAdapter = Elsewhere
    for job in json.load(sys.stdin):
        Elsewhere.job, Elsewhere.answers = job, []
        results.append(child.run(job, Elsewhere.answers))
    json.dump(results, sys.stdout)
else:
    child.main(Elsewhere)
