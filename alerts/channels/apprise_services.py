"""The services that RAINBO reaches by Apprise: those whose hosts are fixed.

Apprise itself sends wherever its URL says: to any host, to files, to other programs. A channel
gets one recipient of one of these services, and nothing else of its URL is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from common.errors import UsageError
from common.text import listed

SHAPE = re.compile(
    r"(?P<scheme>[a-z0-9]{1,20})://[^\s\x00-\x1f\x7f\\?]+(?:\?(?P<query>\S*))?", re.IGNORECASE
)


@dataclass(frozen=True)
class Service:
    """hosts: of its requests; one that begins with a dot stands for all below that domain.
    parameters: what its URL may have after `?`. identity: the parameter by which the service
    recognises a message that it has; without one of our own, some take all of one title for one.
    """

    title: str
    hosts: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    identity: str = ""


_OPSGENIE = ("api.opsgenie.com", "api.eu.opsgenie.com")
_SQUADCAST = ("api.squadcast.com", "api.eu.squadcast.com")
_PAGERDUTY = ("events.pagerduty.com", "events.eu.pagerduty.com")
_TEAMS = (".logic.azure.com", ".api.powerplatform.com")
_WEBEX = Service("Webex", ("api.ciscospark.com", "webexapis.com"))
_VICTOROPS = Service("Splunk On-Call", ("alert.victorops.com",), identity="entity_id")

SERVICES: Mapping[str, Service] = {
    "dingtalk": Service("DingTalk", ("oapi.dingtalk.com",)),
    "firehydrant": Service("FireHydrant", ("signals.firehydrant.com",), identity="dedup"),
    "gchat": Service("Google Chat", ("chat.googleapis.com",)),
    "ilert": Service("ilert", ("api.ilert.com",), identity="dedup"),
    "incidentio": Service("incident.io", ("api.incident.io",), identity="dedup"),
    "jira": Service(
        "Jira Service Management", ("api.atlassian.com",), ("priority",), identity="alias"
    ),
    "lark": Service("Lark", ("open.larksuite.com",)),
    "opsgenie": Service("Opsgenie", _OPSGENIE, ("region", "priority"), identity="alias"),
    "pagerduty": Service("PagerDuty", _PAGERDUTY, ("region",), identity="dedup"),
    "pagertree": Service("PagerTree", ("api.pagertree.com",), ("urgency",), identity="dedup"),
    "pbul": Service("Pushbullet", ("api.pushbullet.com",)),
    "pover": Service("Pushover", ("api.pushover.net",), ("priority", "sound")),
    "prowl": Service("Prowl", ("api.prowlapp.com",), ("priority",)),
    "signl4": Service("SIGNL4", ("connect.signl4.com",), identity="dedup"),
    "spike": Service("Spike", ("api.spike.sh",)),
    "splunk": _VICTOROPS,
    "squadcast": Service("Squadcast", _SQUADCAST, ("region", "priority"), identity="dedup"),
    "tgram": Service("Telegram", ("api.telegram.org",), ("topic",)),
    "threema": Service("Threema Gateway", ("msgapi.threema.ch",)),
    "twilio": Service("Twilio", ("api.twilio.com",)),
    "victorops": _VICTOROPS,
    "webex": _WEBEX,
    "workflows": Service("Microsoft Teams (Workflows)", _TEAMS, ("pa", "route")),
    "wxteams": _WEBEX,
}
OWN_KINDS = {
    **dict.fromkeys(("slack", "discord"), "the kind of that name"),
    **dict.fromkeys(("mailto", "mailtos"), "the kind E-mail"),
    **dict.fromkeys(("json", "jsons", "xml", "xmls", "form", "forms"), "the kind Webhook"),
}


def check_url(url: str) -> Service:
    """The service of an Apprise URL. Raises UsageError, which quotes nothing of it but its scheme,
    for one that RAINBO does not send to."""
    shape = SHAPE.fullmatch(url)
    if shape is None:
        raise UsageError("this is no URL of Apprise, such as tgram://token/chat")
    scheme = shape["scheme"].lower()
    if scheme in OWN_KINDS:
        raise UsageError(f"for {scheme}:// add a channel of {OWN_KINDS[scheme]}")
    if (service := SERVICES.get(scheme)) is None:
        known = listed([f"{name}://" for name in SERVICES], most=len(SERVICES))
        raise UsageError(
            f"{scheme}:// is not among the services with fixed hosts that RAINBO sends to: {known}"
        )
    _check_parameters(shape["query"] or "", service, scheme)
    if service.hosts[0].startswith("."):
        _check_host(url, service)
    return service


def is_host_of(host: str, hosts: tuple[str, ...]) -> bool:
    return any(host.endswith(one) if one.startswith(".") else host == one for one in hosts)


def _check_parameters(query: str, service: Service, scheme: str) -> None:
    """Some parameters load files, follow redirects or switch off the check of certificates."""
    given = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    if given <= {*service.parameters} and not re.search(r"[?#;%+]", query):
        return
    names = listed([f"{name}=" for name in service.parameters])
    raise UsageError(f"after ?, a URL of {scheme}:// may have {names or 'nothing'}")


def _check_host(url: str, service: Service) -> None:
    """Where the URL names the host, it must be one of the service's."""
    try:
        place = urlsplit(url)
        host, port = place.hostname or "", place.port
    except ValueError:
        host, port = "", None
    if port not in (None, 443) or not is_host_of(host, service.hosts):
        raise UsageError(f"the host must end with {' or '.join(service.hosts)}")
