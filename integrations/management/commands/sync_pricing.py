from __future__ import annotations

from integrations.management.catalogues import CatalogueCommand
from integrations.verification import Verified, verify_prices


class Command(CatalogueCommand):
    help = "Fetch the prices of models, which come with catalogues, or verify how many have one."

    def verify(self, minimum: int) -> Verified:
        return verify_prices(minimum)
