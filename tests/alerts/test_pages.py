"""The console's pages of incidents, channels and rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from activity.models import Activity
from alerts.models import Channel, ChannelKind, Incident, Level, Mute, Rule
from alerts.rules import RULES
from syncs import hooks
from syncs.status.problems import Severity
from tests.alerts.rows import HOUR, KEY, MINUTE, NOW, SECRET, channel, incident, problem, see
from tests.http_servers import Receiver, receiver

pytestmark = pytest.mark.django_db
INCIDENTS = "/admin/alerts/incident/"
CHANNELS = "/admin/alerts/channel/"
RULE_PAGES = "/admin/alerts/rule/"
WEB = {"name": "ops", "enabled": "on", "level": "2", "per_hour": "20", "zone": "UTC"}


@pytest.fixture
def server(settings: Any) -> Iterator[Receiver]:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]
    with receiver() as found:
        yield found


def page(client: Client, url: str) -> str:
    answer = client.get(url, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def errors(client: Client, url: str, data: dict[str, str]) -> dict[str, list[str]]:
    answer = client.post(url, data)
    if answer.status_code == 302:
        return {}
    found: dict[str, list[str]] = answer.context["adminform"].form.errors
    return {name: list(words) for name, words in found.items()}


def test_the_list_shows_open_ones_and_others_when_they_are_asked_for(admin_client: Client) -> None:
    text = page(admin_client, INCIDENTS)
    assert "No incident is open." in text
    assert "Alerts have not been evaluated yet" in text
    hooks.note("alerts.evaluation", timezone.now() - 11 * MINUTE)
    assert "Alerts have not been evaluated since" in page(admin_client, INCIDENTS)
    hooks.note("alerts.evaluation", timezone.now())
    assert "been evaluated" not in page(admin_client, INCIDENTS)
    over, muted = problem("instance/3/down", text="three"), problem("instance/4/down", text="four")
    see(over, muted, problem(text="two"))
    Mute.objects.create(key=muted.key, until=NOW.replace(year=2099), reason="moving", by="ann")
    see(muted, problem(text="two"), at=NOW + MINUTE)
    shown = {
        state: {word for word in ("two", "three", "four") if f">{word}<" in text}
        for state in ("", "muted", "history", "all")
        if (text := page(admin_client, f"{INCIDENTS}?state={state}"))
    }
    assert "1 open incident</a> muted" in page(admin_client, INCIDENTS)
    assert shown == {
        "": {"two"},
        "muted": {"four"},
        "history": {"three"},
        "all": {"two", "three", "four"},
    }


def test_a_page_shows_the_course_of_an_incident_and_what_to_do(admin_client: Client) -> None:
    row = incident(text="rds2 <b>has been</b> down")
    text = page(admin_client, f"{INCIDENTS}{row.pk}/change/")
    assert "Rds2 &lt;b&gt;has been&lt;/b&gt; down." in text
    assert "check_fleet" in text
    assert "<strong>opened</strong>" in text


def test_acknowledging_and_muting_are_recorded(admin_client: Client) -> None:
    row = incident()
    at = f"{INCIDENTS}{row.pk}/"
    text = admin_client.post(f"{at}acknowledge/", follow=True).content.decode()
    assert "Acknowledged." in text
    admin_client.post(f"{at}mute/", {"hours": "4", "reason": "moving"})
    admin_client.post(f"{at}unmute/")
    row.refresh_from_db()
    assert row.acknowledged_by == "admin"
    kinds = list(row.events.values_list("kind", "actor"))
    assert kinds[1:] == [("acknowledged", "admin"), ("muted", "admin"), ("unmuted", "admin")]
    recorded = list(Activity.objects.order_by("pk").values_list("action", "subject_id"))
    assert recorded == [
        (f"incident.{what}", str(row.pk)) for what in ("acknowledged", "muted", "unmuted")
    ]


def test_an_acknowledgement_may_end_by_itself(admin_client: Client) -> None:
    row = incident()
    at = f"{INCIDENTS}{row.pk}/"
    text = admin_client.post(f"{at}acknowledge/", {"hours": "4"}, follow=True).content.decode()
    assert "No reminder is sent until " in text
    row.refresh_from_db()
    assert row.acknowledged_at is not None
    assert row.acknowledged_until is not None
    assert abs(row.acknowledged_until - row.acknowledged_at - 4 * HOUR) < MINUTE
    assert row.is_acknowledged(row.acknowledged_until - MINUTE)
    assert not row.is_acknowledged(row.acknowledged_until)
    after = Activity.objects.get().after
    assert after
    assert after["until"]
    assert "by admin, until <time" in page(admin_client, f"{at}change/")


@pytest.mark.parametrize(
    ("action", "data", "words"),
    [
        ("acknowledge", {"hours": "99999"}, "choose for how long"),
        ("mute", {"hours": "4", "reason": " "}, "enter how long and why"),
        ("mute", {"hours": "99999", "reason": "x"}, "enter how long and why"),
        ("unmute", {}, "is not muted"),
    ],
)
def test_what_can_not_be_done_says_why(
    admin_client: Client, action: str, data: dict[str, str], words: str
) -> None:
    row = incident()
    answer = admin_client.post(f"{INCIDENTS}{row.pk}/{action}/", data, follow=True)
    assert words in answer.content.decode()
    assert not Mute.objects.exists()
    assert not Activity.objects.exists()


def test_a_channel_shows_its_last_messages_and_what_became_of_each(admin_client: Client) -> None:
    row = channel()
    url = f"{CHANNELS}{row.pk}/change/"
    assert "Last messages" not in page(admin_client, url)
    states: tuple[dict[str, Any], ...] = (
        {"sent_at": NOW},
        {"given_up_at": NOW, "error": "answered 400: <no_text>"},
        {"given_up_at": NOW},
        {"error": "answered 500"},
        {},
    )
    for n, fields in enumerate(states):
        at, content = NOW + n * MINUTE, {"title": f"message {n}", "incidents": []}
        row.deliveries.create(content=content, created_at=at, not_before=at, **fields)
    _, _, text = page(admin_client, url).partition("Last messages")
    shown = [re.sub(r"<[^>]+>", " ", one) for one in re.findall(r"(?s)<li>(.*?)</li>", text)]
    found = [" ".join(one.partition("message ")[2].split()) for one in shown]
    assert found == [
        "4 waiting",
        "3 waiting answered 500",
        "2 muted",
        "1 not taken answered 400: &lt;no_text&gt;",
        "0 sent",
    ]


def test_a_resolved_incident_has_no_buttons_and_takes_nothing(admin_client: Client) -> None:
    row = incident()
    see(at=NOW + MINUTE)
    text = page(admin_client, f"{INCIDENTS}{row.pk}/change/")
    assert "Acknowledge" not in text
    answer = admin_client.post(f"{INCIDENTS}{row.pk}/acknowledge/", follow=True)
    assert "is resolved" in answer.content.decode()


def test_the_sidebar_counts_what_is_open(admin_client: Client) -> None:
    symptom = problem("sync/user_routing/overdue", Severity.STALE, ("2",))
    see(problem(), symptom, problem("instance/3/down"))
    Mute.objects.create(
        key="instance/3/down", until=NOW.replace(year=2099), reason="moving", by="ann"
    )
    groups = admin_client.get("/admin/").context["sidebar_navigation"]
    items = {item["title"]: item.get("badge") for group in groups for item in group["items"]}
    assert items["Incidents"] == 1


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (ChannelKind.SLACK, {"new_address": f"https://hooks.example/{SECRET}"}),
        (ChannelKind.DISCORD, {"new_address": f"https://hooks.example/{SECRET}"}),
        (ChannelKind.WEBHOOK, {"new_address": "https://hooks.example/x", "new_signing": KEY}),
        (ChannelKind.EMAIL, {"to": "a@x.example\nb@x.example, a@x.example;"}),
    ],
)
def test_a_channel_of_each_kind_can_be_added_and_shows_no_secret(
    admin_client: Client, kind: ChannelKind, data: dict[str, str]
) -> None:
    url = f"{CHANNELS}add/?kind={kind}"
    assert "Webhook URL" in page(admin_client, url) or kind is ChannelKind.EMAIL
    assert errors(admin_client, url, WEB | data) == {}
    row = Channel.objects.get()
    assert row.kind == kind
    if kind is ChannelKind.EMAIL:
        assert row.recipients == ["a@x.example", "b@x.example"]
    else:
        assert (row.host, row.read_address()) == ("hooks.example", data["new_address"])
    if kind is ChannelKind.WEBHOOK:
        assert row.read_signing() == KEY
    shown = page(admin_client, f"{CHANNELS}{row.pk}/change/") + page(admin_client, CHANNELS)
    recorded = repr(list(Activity.objects.values()))
    assert "channel.added" in recorded
    for text in (shown, recorded):
        assert SECRET not in text
        assert KEY not in text


@pytest.mark.parametrize(
    ("kind", "data", "wrong"),
    [
        (ChannelKind.SLACK, {}, "new_address"),
        (ChannelKind.SLACK, {"new_address": "http://hooks.example/x"}, "new_address"),
        (ChannelKind.SLACK, {"new_address": "https://a:b@hooks.example/x"}, "new_address"),
        (ChannelKind.WEBHOOK, {"new_address": "https://hooks.example/x"}, "new_signing"),
        (
            ChannelKind.WEBHOOK,
            {"new_address": "https://hooks.example/x", "new_signing": "short"},
            "new_signing",
        ),
        (ChannelKind.EMAIL, {"to": ""}, "to"),
        (ChannelKind.EMAIL, {"to": "nobody"}, "to"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "quiet_from": "22:00"}, "quiet_to"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "only_instances": "one"}, "only_instances"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "only_instances": "7"}, "only_instances"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "only_instances": "9" * 5_000}, "only_instances"),
        (
            ChannelKind.EMAIL,
            {"to": "a@x.example", "quiet_from": "22:00", "quiet_to": "22:00"},
            "quiet_to",
        ),
        (ChannelKind.EMAIL, {"to": "a@x.example\r\nBcc:evil@x.example"}, "to"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "name": "ops\r\nBcc: evil"}, "name"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "name": "ops \u202e spo"}, "name"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "name": "x" * 101}, "name"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "per_hour": "0"}, "per_hour"),
        (ChannelKind.EMAIL, {"to": "a@x.example", "zone": "Mars/Base"}, "zone"),
    ],
)
def test_what_a_channel_can_not_be(
    admin_client: Client, kind: ChannelKind, data: dict[str, str], wrong: str
) -> None:
    assert list(errors(admin_client, f"{CHANNELS}add/?kind={kind}", WEB | data)) == [wrong]
    assert not Channel.objects.exists()


def test_a_channel_that_was_added_is_shown_so_that_a_test_can_be_sent(admin_client: Client) -> None:
    answer = admin_client.post(
        f"{CHANNELS}add/?kind=email", WEB | {"to": "a@x.example"}, follow=True
    )
    row = Channel.objects.get()
    assert answer.redirect_chain == [(f"{CHANNELS}{row.pk}/change/", 302)]
    text = answer.content.decode()
    assert f"The channel {row.name} was added." in text
    assert "Send a test</button>" in text


def test_a_change_keeps_the_secrets_that_are_not_entered(admin_client: Client) -> None:
    row = channel(kind=ChannelKind.WEBHOOK)
    url = f"{CHANNELS}{row.pk}/change/"
    data = WEB | {
        "name": "on call",
        "quiet_from": "22:00",
        "quiet_to": "07:30",
        "zone": "Europe/Berlin",
    }
    assert errors(admin_client, url, data) == {}
    changed = Channel.objects.get()
    assert (changed.name, changed.zone, changed.level) == ("on call", "Europe/Berlin", 2)
    assert (changed.address, changed.signing) == (row.address, row.signing)
    again = {"new_address": "https://evil.example/x"}
    assert list(errors(admin_client, url, WEB | again)) == ["new_signing"]
    assert errors(admin_client, url, WEB | again | {"new_signing": KEY}) == {}
    assert Channel.objects.get().read_signing() == KEY
    assert Activity.objects.filter(action="channel.changed").count() == 2


def test_a_new_address_ends_a_failure(admin_client: Client) -> None:
    row = channel(failing_since=NOW, gone_at=NOW, last_error="answered 404")
    data = WEB | {"new_address": "https://hooks.example/y"}
    assert errors(admin_client, f"{CHANNELS}{row.pk}/change/", data) == {}
    row.refresh_from_db()
    assert (row.gone_at, row.failing_since, row.last_error) == (None, None, "")


def test_send_a_test_shows_what_the_other_side_answered(
    admin_client: Client, server: Receiver
) -> None:
    row = channel(url=server.url(f"/services/T0/B0/{SECRET}"))
    server.reply(404, f"no_service {SECRET}".encode())
    url = reverse("admin:alerts_channel_test", args=[row.pk])
    text = admin_client.post(url, follow=True).content.decode()
    assert "The test was not accepted: answered 404: no_service ***." in text
    server.reply(200, b"ok")
    text = admin_client.post(url, follow=True).content.decode()
    assert "The test was accepted: answered 200: ok." in text
    assert b"This is a test of the channel ops" in server.received[-1].body
    entry = Activity.objects.filter(action="channel.tested").last()
    assert entry is not None
    assert SECRET not in repr(list(Activity.objects.values()))


def test_every_rule_of_the_code_has_its_row_and_can_be_changed(admin_client: Client) -> None:
    assert set(Rule.objects.values_list("name", flat=True)) == set(RULES)
    text = page(admin_client, RULE_PAGES)
    assert all(escape(rule.title) in text for rule in RULES.values())
    row = Rule.objects.get(name="failures_in_a_row")
    data = {"level": "1", "threshold": "5", "hold_seconds": "60"}
    assert errors(admin_client, f"{RULE_PAGES}{row.pk}/change/", data) == {}
    row.refresh_from_db()
    assert (row.enabled, row.level, row.threshold, row.hold_seconds) == (False, Level.URGENT, 5, 60)
    assert row.changed_by == "admin"
    actions = set(Activity.objects.values_list("action", flat=True))
    assert actions == {"rule.disabled", "rule.changed"}


@pytest.mark.parametrize("threshold", ["0", "-1", "nan", "1e99"])
def test_thresholds_that_make_no_rule(admin_client: Client, threshold: str) -> None:
    row = Rule.objects.get(name="slow")
    found = errors(admin_client, f"{RULE_PAGES}{row.pk}/change/", {"threshold": threshold})
    assert list(found) == ["threshold"]


@pytest.mark.parametrize("hold", ["-1", "604801", "99999999999"])
def test_a_rule_does_not_wait_for_ever(admin_client: Client, hold: str) -> None:
    row = Rule.objects.get(name="slow")
    found = errors(admin_client, f"{RULE_PAGES}{row.pk}/change/", {"hold_seconds": hold})
    assert list(found) == ["hold_seconds"]


def test_incidents_show_to_those_alone_who_may_see_what_they_are_about(client: Client) -> None:
    """As on the first page: of channels, say, only with the permission to view channels."""
    about = {"channels": "A channel", "instances": "An instance", "syncs": "A sync"}
    see(
        problem("channel/1", Severity.CHANNEL_FAILING, (), text="A channel", source="channels"),
        problem("instance/2/down", text="An instance", source="instances"),
        problem("sync/x/failing", Severity.FAILING, (), text="A sync", source="syncs"),
    )
    user = User.objects.create_user("reader", is_staff=True)
    names = ("view_incident", "change_incident", "view_rdsinstance")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    for state in ("", "all"):
        text = page(client, f"{INCIDENTS}?state={state}")
        assert {source for source, words in about.items() if words in text} >= {"instances"}
        assert "A channel</" not in text
        assert "A sync</" not in text
    hidden = Incident.objects.get(key="channel/1")
    for do in ("acknowledge", "mute", "unmute"):
        data = {"hours": "1", "reason": "x"}
        assert client.post(f"{INCIDENTS}{hidden.pk}/{do}/", data).status_code == 404
    assert client.get(f"{INCIDENTS}{hidden.pk}/change/").status_code in (302, 404)
    hidden.refresh_from_db()
    assert hidden.acknowledged_at is None
    assert ">1<" in page(client, INCIDENTS).replace(" ", "").replace("\n", "")


def test_who_may_only_look_has_no_buttons(client: Client) -> None:
    user = User.objects.create_user("reader", is_staff=True)
    names = ("view_incident", "view_rdsinstance", "view_channel", "view_rule")
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    row, to = incident(), channel()
    for url in (
        f"{INCIDENTS}{row.pk}/",
        f"{CHANNELS}{to.pk}/",
        f"{RULE_PAGES}{Rule.objects.all()[0].pk}/",
    ):
        text = page(client, f"{url}change/")
        assert "Send a test" not in text
        assert "Mute" not in text
        assert "Timeline" in text or url != f"{INCIDENTS}{row.pk}/"
    assert client.post(f"{INCIDENTS}{row.pk}/acknowledge/").status_code == 403
    assert client.post(f"{CHANNELS}{to.pk}/test/").status_code == 403
    assert Incident.objects.get().acknowledged_at is None


def test_times_in_texts_that_were_stored_are_in_the_viewers_zone(admin_client: Client) -> None:
    """The list, the page, its course, and what it explains; a day is given where it is needed."""
    seen = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)
    cause = incident()
    fields = {"last_seen_at": seen, "since": seen, "opened_at": seen}
    Incident.objects.update(text="instance 3 has been down since 23:05 UTC", **fields)
    symptom = {"key": "x/stale", "title": "late", "text": "late since 2026-06-29 10:00 UTC"}
    Incident.objects.create(
        **fields, **symptom, seen_since=seen, level=1, rank=1, cause=cause, source=cause.source
    )
    cause.events.all().delete()
    cause.events.create(at=seen, kind="muted", text="until 2026-07-01 22:00 UTC: a move")
    url = f"{INCIDENTS}{cause.pk}/change/"
    assert "down since 2026-06-30 23:05 UTC" in page(admin_client, url)
    admin_client.cookies["rainbo_zone"] = "Asia/Tokyo"
    shown = page(admin_client, url)
    assert "down since 2026-07-01 08:05 JST" in shown
    assert "late since 2026-06-29 19:00 JST" in shown
    assert "until 2026-07-02 07:00 JST: a move" in shown
    assert "down since 2026-07-01 08:05 JST" in page(admin_client, INCIDENTS)
    assert " UTC" not in shown
