#!/bin/bash
# django-ninja 1.7.1 takes numbers, booleans and null as a body for an object without fields: where
# all fields of an operation's schema have defaults, `0`, `1`, `true`, `false` and `null` get 200.
# Texts and lists, empty or not, are refused with 422. The description says `object`.
# The cause: its Schema reads attributes of whatever it is given, and finds none.
#
# Guess before: 422 for all that is no object; the second guess, "what is empty in Python's sense
# passes", was wrong too.
# Seen: as printed below; a plain Pydantic model refuses each of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    django==5.2.19 django-ninja==1.7.1 pydantic==2.14.4
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from django.conf import settings

settings.configure(ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=__name__, SECRET_KEY="a" * 50)

import django

django.setup()

from django.test import Client
from django.urls import path
from ninja import NinjaAPI, Schema
from pydantic import BaseModel, ValidationError


class Wish(Schema):
    count: int = 1


class Plain(BaseModel):
    count: int = 1


api = NinjaAPI()


@api.post("/wish")
def wish(request, wanted: Wish):
    return {"count": wanted.count}


urlpatterns = [path("api/", api.urls)]


def pydantic_takes(value) -> bool:
    try:
        Plain.model_validate(value)
    except ValidationError:
        return False
    return True


seen = {}
for body, value in (
    ("{}", {}), ("[]", []), ("0", 0), ("false", False), ('""', ""), ("null", None),
    ("[1]", [1]), ("1", 1), ("true", True),
):
    answer = Client().post("/api/wish", body, content_type="application/json")
    seen[body] = answer.status_code
    print(f"{body:6} -> {answer.status_code}; a plain model takes it: {pydantic_takes(value)}")
    assert pydantic_takes(value) == (body == "{}")
print("django-ninja", version("django-ninja"), "pydantic", version("pydantic"))
taken = {body for body, status in seen.items() if status == 200}
assert taken == {"{}", "0", "1", "true", "false", "null"}, taken
PYTHON
