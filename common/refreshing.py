"""How a page says that it refreshes itself."""

from __future__ import annotations

REFRESH = "X-Rainbo-Refresh"  # a header; such a request is no sign of a person
