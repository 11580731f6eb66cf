"""Disconnects an account: the service is asked to withdraw what was granted, then it is forgotten.

The service comes first: a grant that nobody knows of any more could not be withdrawn.
"""

from __future__ import annotations

from common.clock import database_now
from common.encryption import CredentialError
from common.errors import RainboError
from integrations import oauth, plugin
from integrations.models import Connection
from integrations.plugin import OAuth2, Reconnect
from integrations.tokens import Access


def withdraw(row: Connection) -> tuple[str, bool]:
    """Ask the service to withdraw what this connection was granted.

    Returns what happened as a sentence, and whether a person has something left to do there.
    Changes nothing of the connection.
    """
    service = plugin.all_plugins().get(row.service)
    if service is None or row.credentials is None:
        return "No credentials were stored.", False
    if not isinstance(service.auth, OAuth2):
        return f"{service.title} can't be asked to withdraw them.", False
    where = f": {service.auth.account_page}" if service.auth.account_page else ""
    by_hand = f"Withdraw the access at {service.title} yourself{where}"
    revoke = service.auth.revoke
    try:
        access = Access(row, service, database_now, closes=False)
        token = access.of_grant(prefers_refresh=bool(revoke and revoke.prefers_refresh))
        if token is None:
            return f"The token was entered by hand. Delete it at {service.title}.", True
        if revoke is None:
            return f"{service.title} can't be asked. {by_hand}", True
        if oauth.revoke(service, token):
            return f"{service.title} has withdrawn the access.", False
    except Reconnect as error:
        return f"Nothing was withdrawn: {error}.", False
    except (CredentialError, RainboError) as error:
        return f"The access was not withdrawn: {error}. {by_hand}", True
    return f"The access was not valid at {service.title} any longer.", False
