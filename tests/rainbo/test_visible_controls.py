"""Names with control and bidirectional characters, as pages show them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import Client
from django.utils import timezone
from django.utils.html import format_html

from common.terminal import printable
from rainbo import visible_controls
from tenants.models import Tenant
from tests.rows import instance_row, staff

CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F)]
CONTROLS += range(0x2066, 0x206A)
SHOWN_AS_THEY_ARE = "\t\r\n Łódź, naïve – “quoted” … 日本 \u200b\u2030\u2065\u206a\u2010ʻ"


def through(response: HttpResponseBase) -> Any:
    return visible_controls.show(lambda request: response)(HttpRequest())


@pytest.mark.parametrize("code", [code for code in CONTROLS if chr(code) not in "\t\r\n"])
def test_a_page_shows_it_like_a_terminal(code: int) -> None:
    response = through(HttpResponse(f"<b>a{chr(code)}b</b>"))
    assert response.content.decode() == f"<b>a{printable(chr(code))}b</b>"
    assert f"\\u{code:04x}" in response.content.decode()


def test_other_characters_stay() -> None:
    assert through(HttpResponse(SHOWN_AS_THEY_ARE)).content.decode() == SHOWN_AS_THEY_ARE


def test_what_a_form_sends_back_stays() -> None:
    form = (
        '<b title="{0}" data-value="{0}">{0}</b><input name="a" value="x{1}y">'
        '<option value="{1}">{0}</option><textarea name="b" cols="40">{1}\n{1}</textarea>{0}'
    )
    shown = through(HttpResponse(form.format("\u202e", "\u202e"))).content.decode()
    assert shown == form.format("\\u202e", "\u202e")


def test_no_name_passes_for_what_a_form_sends_back() -> None:
    name = 'value="\u202e" <textarea>\u202e'
    shown = through(HttpResponse(format_html("<td>{}</td>", name))).content.decode()
    assert "\u202e" not in shown


@pytest.mark.django_db
def test_whoever_saves_a_person_changes_no_other_field(admin_client: Client) -> None:
    person = staff("ann", first_name="\u200fAnn", last_name="Shaked")
    url = f"/admin/auth/user/{person.pk}/change/"
    page = admin_client.get(url)
    (sent,) = re.findall('name="first_name" value="([^"]*)"', page.content.decode())
    assert sent == "\u200fAnn"


def test_what_is_no_page_stays() -> None:
    assert through(HttpResponse("\u202e", content_type="text/csv")).content.decode() == "\u202e"
    streamed = through(StreamingHttpResponse(["\u202e"]))
    assert b"".join(streamed).decode() == "\u202e"


@pytest.mark.django_db
def test_the_tenants_show_it(admin_client: Client) -> None:
    Tenant.objects.create(
        instance=instance_row(),
        remote_id="1",
        name="Acme \u202etxt.exe",
        status="active",
        cache_refreshed_at=timezone.now(),
    )
    response = admin_client.get("/admin/tenants/tenant/")
    assert "Acme \\u202etxt.exe" in response.content.decode()
    assert int(response["Content-Length"]) == len(response.content)
