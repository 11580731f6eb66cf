"""The services' own clients use our servers: what they make of the answers is what is there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localfleet.services import bakalari, github, notion, slack
from localfleet.services.server import Service, running
from tests.integrations.peers import run_peer

NOTION = """
import json, sys
from notion_client import APIResponseError, Client
from notion_client.helpers import iterate_paginated_api, is_full_data_source, is_full_page

notion = Client(auth=sys.argv[2], base_url=sys.argv[1], retry=False)

def error(call, *args, **given):
    try:
        call(*args, **given)
    except APIResponseError as found:
        return [found.code, found.status, found.headers.get("retry-after"), found.additional_data]

def listed(call, *args, **given):
    return list(iterate_paginated_api(lambda **more: call(*args, **given, **more)))

def wanted(kind):
    return {"filter": {"property": "object", "value": kind},
            "sort": {"timestamp": "last_edited_time", "direction": "ascending"}, "page_size": 2}

pages = listed(notion.search, **wanted("page"))
sources = listed(notion.search, **wanted("data_source"))
assert all(map(is_full_page, pages)) and all(map(is_full_data_source, sources))
rows = listed(notion.data_sources.query, sources[0]["id"], page_size=1)
print(json.dumps({
    "pages": [one["id"] for one in pages],
    "sources": [one["id"] for one in sources],
    "rows": [one["id"] for one in rows],
    "me": notion.users.me()["bot"]["workspace_name"],
    "missing": error(notion.data_sources.query, "00000000-0000-0000-0000-000000000000"),
    "rejected": error(notion.search, auth="wrong"),
    "bad cursor": error(notion.search, start_cursor="x"),
}))
"""
NOTION_LIMIT = """
import json, sys
from notion_client import APIResponseError, Client

try:
    Client(auth=sys.argv[2], base_url=sys.argv[1], retry=False).search()
except APIResponseError as found:
    seen = [found.code, found.status, found.headers.get("retry-after"), found.additional_data]
    print(json.dumps(seen))
"""
NOTION_OAUTH = """
import json, sys
from notion_client import APIResponseError, Client

base, refresh_token = sys.argv[1:]
notion = Client(base_url=base, retry=False)
app = {"client_id": "client-1", "client_secret": "client-secret-1"}

def renew(token):
    try:
        return notion.oauth.token(**app, grant_type="refresh_token", refresh_token=token)
    except APIResponseError as error:
        return error.code
    except Exception as error:
        return type(error).__name__

def accepted(token):
    try:
        return notion.users.me(auth=token)["type"]
    except APIResponseError as error:
        return error.code

second = renew(refresh_token)
before = accepted(second["access_token"])
notion.oauth.revoke(**app, token=second["access_token"])
after = accepted(second["access_token"])
print(json.dumps([second["workspace_name"], renew(refresh_token), before, after]))
"""
SLACK = """
import json, sys
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

slack = WebClient(token=sys.argv[2], base_url=sys.argv[1] + "/api/")

def error(call, **given):
    try:
        call(**given)
    except SlackApiError as found:
        answer = found.response
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return [answer["error"], answer.status_code, headers.get("retry-after"), answer["needed"]]

def rows(pages, name):
    return [row for page in pages for row in page[name]]

types = "public_channel,private_channel"
channels = rows(slack.conversations_list(types=types, limit=1), "channels")
first = channels[0]["id"]
messages = rows(slack.conversations_history(channel=first, limit=2), "messages")
window = slack.conversations_history(channel=first, oldest=messages[1]["ts"], inclusive=True)
print(json.dumps({
    "team": slack.auth_test()["team_id"],
    "channels": [row["name"] for row in channels],
    "messages": [row["text"] for row in messages],
    "window": [row["text"] for row in window["messages"]],
    "outside": error(slack.conversations_history, channel=channels[-1]["id"]),
    "nowhere": error(slack.conversations_history, channel="C0"),
    "rejected": error(WebClient(token="xoxb-wrong", base_url=slack.base_url).auth_test),
}))
"""
SLACK_LIMIT = (
    SLACK.partition("types = ")[0]
    + """
channel = slack.conversations_list(types="public_channel")["channels"][0]["id"]
slack.conversations_history(channel=channel)
print(json.dumps([
    error(slack.conversations_history, channel=channel),
    error(slack.conversations_list, types="private_channel"),
]))
"""
)
SLACK_ROTATION = """
import json, sys, time
from slack_sdk import WebClient
from slack_sdk.oauth.installation_store import Bot
from slack_sdk.oauth.token_rotation import TokenRotator
from slack_sdk.errors import SlackTokenRotationError

base, token, refresh_token = sys.argv[1:]
client = WebClient(base_url=base + "/api/")
bot = Bot(bot_token=token, bot_refresh_token=refresh_token, bot_id="B9", bot_user_id="U9",
          bot_token_expires_at=int(time.time()) + 43200, installed_at=time.time())
rotator = TokenRotator(client_id="client-1", client_secret="client-secret-1", client=client)
early = rotator.perform_bot_token_rotation(bot=bot)
late = rotator.perform_bot_token_rotation(bot=bot, minutes_before_expiration=60 * 24)
try:
    rotator.perform_bot_token_rotation(bot=bot, minutes_before_expiration=60 * 24)
    again = "accepted"
except SlackTokenRotationError as error:
    again = error.api_error.response["error"]
renewed = WebClient(token=late.bot_token, base_url=base + "/api/")
print(json.dumps([early, renewed.auth_test()["team_id"], again, renewed.auth_revoke()["revoked"]]))
"""
GITHUB = """
import json, sys
from github import Auth, Github, GithubException

def client(token):
    return Github(auth=Auth.Token(token), base_url=sys.argv[1], per_page=2, retry=None,
                  seconds_between_requests=0, seconds_between_writes=0)

me = client(sys.argv[2]).get_user()
issues = list(me.get_issues(filter="all", state="all", sort="created", direction="asc"))
try:
    list(client("wrong").get_user().get_repos())
    rejected = 200
except GithubException as error:
    rejected = error.status
print(json.dumps({
    "repositories": [[one.id, one.full_name, one.private, one.archived] for one in me.get_repos()],
    "issues": [[one.title, one.state, one.user.login, one.created_at.isoformat(),
                "pull_request" in one._rawData, [label.name for label in one.labels]]
               for one in issues],
    "changed": [one.title for one in me.get_issues(filter="all", since=issues[2].updated_at)],
    "notifications": [[one.subject.title, one.reason, one.unread]
                      for one in me.get_notifications(all=True)],
    "rejected": rejected,
}))
"""
GITHUB_LIMIT = """
import sys
from github import Auth, Github, RateLimitExceededException

github = Github(auth=Auth.Token(sys.argv[2]), base_url=sys.argv[1], retry=None)
try:
    list(github.get_user().get_repos())
except RateLimitExceededException as error:
    print(error.status, error.headers["x-ratelimit-remaining"])
"""
BAKALARI = """
import json, sys
from bakalari import BakalariAuthError, BakalariClient, BakalariPermissionError

school = BakalariClient(sys.argv[1], sys.argv[2], sys.argv[3])
marks, absence = school.marks(), school.absence()
week = school.actual_timetable("2026-03-02")
first = school.export_session().refresh_token
info = school.refresh()

def kind(call, *args):
    try:
        return call(*args) and "accepted"
    except (BakalariAuthError, BakalariPermissionError) as error:
        return [type(error).__name__, error.status]

print(json.dumps({
    "marks": [[one.id, one.text, one.weight, one.date.isoformat()] for one in marks.all_marks],
    "subjects": [one.subject.name for one in marks.subjects],
    "average": marks.subjects[0].average,
    "absences": [[day.date.isoformat(), day.missed] for day in absence.days],
    "lessons": [[lesson.date.isoformat(), lesson.hour.caption, lesson.title]
                for lesson in week.taught_lessons],
    "lives": info.expires_in,
    "refreshed": first != school.export_session().refresh_token,
    "used": kind(BakalariClient(sys.argv[1], refresh_token=first).marks),
    "wrong": kind(BakalariClient(sys.argv[1], sys.argv[2], "wrong").login),
}))
"""


def run(script: str, service: Service, *args: str) -> Any:
    with running(service):
        return json.loads(run_peer(script, service.url, *args))


def test_notions_client_reads_what_is_there() -> None:
    server = notion.Notion()
    server.page = 2
    tasks = server.add_data_source("Tasks")
    rows = [server.add_page(f"task {number}", tasks) for number in range(3)]
    home = server.add_page("home")
    server.edit(rows[0], "task 0!")
    server.trash(server.add_page("waste"))
    seen = run(NOTION, server, server.token)
    in_order = sorted(server.pages[:-1], key=lambda row: (row["last_edited_time"], row["id"]))
    assert seen["pages"] == [row["id"] for row in in_order]
    assert home["id"] in seen["pages"]
    assert seen["sources"] == [tasks["id"]]
    assert sorted(seen["rows"]) == sorted(row["id"] for row in rows)
    assert seen["me"] == "Acme"
    assert seen["missing"][:2] == ["object_not_found", 404]
    assert seen["rejected"][:2] == ["unauthorized", 401]
    assert seen["bad cursor"][:2] == ["validation_error", 400]


def test_notions_client_sees_a_limit() -> None:
    server = notion.Notion()
    server.remaining, server.wait = 0, 75
    reason = {"rate_limit_reason": "workspace_limit"}
    assert run(NOTION_LIMIT, server, server.token) == ["rate_limited", 429, "75", reason]


def test_notions_client_renews_and_revokes_tokens() -> None:
    server = notion.Notion()
    pair = server.apps.grant("client-1", ())
    seen = run(NOTION_OAUTH, server, str(pair["refresh_token"]))
    assert seen == ["Acme", "UnknownHTTPResponseError", "bot", "unauthorized"]


def test_slacks_client_reads_what_is_there() -> None:
    server = slack.Slack()
    server.page = 2
    general = server.add_channel("general")
    for number in range(5):
        server.post(general, f"m{number}")
    server.add_channel("secret", private=True)
    server.add_channel("others", member=False)
    assert run(SLACK, server, server.token) == {
        "team": "T1",
        "channels": ["general", "secret", "others"],
        "messages": ["m4", "m3", "m2", "m1", "m0"],
        "window": ["m4", "m3"],
        "outside": ["not_in_channel", 200, None, None],
        "nowhere": ["channel_not_found", 200, None, None],
        "rejected": ["invalid_auth", 200, None, None],
    }


def test_slacks_client_sees_limits_and_missing_scopes() -> None:
    server = slack.Slack()
    server.add_channel("general")
    server.rates = {"conversations.history": 1}
    server.scopes = ("channels:read", "channels:history")
    limited, missing = run(SLACK_LIMIT, server, server.token)
    assert limited == ["ratelimited", 429, "60", None]
    assert missing == ["missing_scope", 200, None, "groups:read"]


def test_slacks_client_rotates_and_revokes_tokens() -> None:
    server = slack.Slack()
    server.apps.lives = 43_200
    pair = server.apps.grant("client-1", tuple(server.scopes))
    tokens = str(pair["access_token"]), str(pair["refresh_token"])
    assert run(SLACK_ROTATION, server, *tokens) == [None, "T1", "invalid_refresh_token", True]


def test_githubs_client_reads_what_is_there() -> None:
    server = github.GitHub()
    for number in range(3):
        server.add_repository(f"r{number}")
        server.add_issue(f"i{number}", pull=number == 1)
    server.add_notification("you were mentioned")
    seen = run(GITHUB, server, server.token)
    assert seen["repositories"] == [
        [row["id"], row["full_name"], False, False] for row in server.repositories
    ]
    assert seen["issues"] == [
        [
            *(row["title"], "open", "ann", row["created_at"].replace("Z", "+00:00")),
            *("pull_request" in row, ["bug"]),
        ]
        for row in server.issues
    ]
    assert seen["changed"] == ["i2"]
    assert seen["notifications"] == [["you were mentioned", "mention", True]]
    assert seen["rejected"] == 401


def test_githubs_client_sees_the_limit() -> None:
    server = github.GitHub()
    server.remaining = 0
    with running(server):
        assert run_peer(GITHUB_LIMIT, server.url, server.token) == "403 0\n"


def test_a_client_of_bakalari_reads_what_is_there() -> None:
    server = bakalari.Bakalari()
    marks = [server.add_mark("Maths", "1", 5), server.add_mark("Czech", "2-")]
    server.add_absence("2026-03-03", 4)
    server.days = {"2026-03-02": ["Maths", "Czech"], "2026-03-03": []}
    seen = run(BAKALARI, server, server.user, server.password)
    assert seen["marks"] == [
        [marks[0]["Id"], "1", 5, "2026-03-02"],
        [marks[1]["Id"], "2-", None, "2026-03-02"],
    ]
    assert (seen["subjects"], seen["average"]) == (["Maths", "Czech"], 2.86)
    assert seen["absences"] == [["2026-03-03", 4]]
    assert seen["lessons"] == [["2026-03-02", "0", "Maths"], ["2026-03-02", "1", "Czech"]]
    assert (seen["lives"], seen["refreshed"]) == (3599, True)
    assert seen["used"] == ["BakalariAuthError", 400]
    assert seen["wrong"] == ["BakalariAuthError", 400]


@pytest.mark.parametrize("unused", ["marks", "absence/student", "timetable/actual"])
def test_a_client_of_bakalari_sees_a_module_that_is_not_used(unused: str) -> None:
    server = bakalari.Bakalari()
    server.unused = {unused}
    call = {"marks": "marks", "absence/student": "absence", "timetable/actual": "actual_timetable"}
    script = (
        "import sys, bakalari\n"
        "school = bakalari.BakalariClient(*sys.argv[1:4])\n"
        "try:\n    getattr(school, sys.argv[4])()\n"
        "except bakalari.BakalariPermissionError as error:\n    print(error.status)\n"
    )
    with running(server):
        seen = run_peer(script, server.url, server.user, server.password, call[unused])
    assert seen == "403\n"
