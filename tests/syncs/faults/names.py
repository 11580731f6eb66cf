"""The syncs of the fault tests."""

from __future__ import annotations

from string import ascii_lowercase

RARELY = "0 0 1 1 *"  # their slots are made by the tests
NAMES = [f"probe_{letter}" for letter in ascii_lowercase[:20]]
BUSY, DEADLY, DAILY = "busy", "deadly", "daily"
TENANTS = "tenant_summaries"  # the product's own, for the instances of `world`
CRONS = dict.fromkeys([*NAMES, BUSY, DEADLY, TENANTS], RARELY) | {DAILY: "0 0 * * *"}
