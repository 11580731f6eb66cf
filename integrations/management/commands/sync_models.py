from __future__ import annotations

from integrations.management.catalogues import CatalogueCommand
from integrations.verification import Verified, verify_models


class Command(CatalogueCommand):
    help = "Fetch catalogues of models with their prices, or verify how many models there are."

    def verify(self, minimum: int) -> Verified:
        return verify_models(minimum)
