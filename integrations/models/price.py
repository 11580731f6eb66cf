"""Models that catalogues list, and every change of their prices."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models

from integrations.models.connection import Connection


class ExactDecimalField(models.DecimalField[Any, Any]):
    """PostgreSQL's `numeric` without precision and scale: nothing is rounded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.validators: Any = []  # they need a precision

    def db_type(self, connection: Any) -> str:  # noqa: ARG002
        return "numeric"

    def check(self, **kwargs: Any) -> list[Any]:
        """Without the checks of a precision, which it has none of."""
        return models.Field.check(self, **kwargs)


class CatalogueModel(models.Model):
    """A model in one catalogue, derived from its record; prices in dollars per million tokens.

    name: in full, as the catalogue calls it. base_name: what it is compared with others by.
    missing: full listings in a row that did not have it. A price that is NULL is unknown, 0 is
    free.
    """

    class State(models.TextChoices):
        LISTED = "listed"
        MISSING = "missing"
        DELISTED = "delisted"
        BACK = "back"

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=512)
    base_name = models.CharField(max_length=512)
    provider = models.CharField(max_length=255, blank=True)
    mode = models.CharField(max_length=255, blank=True)
    context = models.BigIntegerField(null=True, help_text="tokens")
    ends_on = models.DateField(null=True)
    input = ExactDecimalField(null=True)
    output = ExactDecimalField(null=True)
    cache_read = ExactDecimalField(null=True)
    cache_write = ExactDecimalField(null=True)
    reasoning = ExactDecimalField(null=True)
    varies = models.CharField(max_length=255, blank=True)
    alias_of = models.CharField(max_length=512, blank=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.LISTED)
    missing = models.PositiveSmallIntegerField(default=0)
    state_since = models.DateTimeField()
    first_seen_at = models.DateTimeField()
    priced_at = models.DateTimeField(help_text="since when its prices are these")

    class Meta:
        verbose_name = "model"
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "name"], name="one_model_of_a_name"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["base_name", "id"], name="models_to_compare"),
            models.Index(fields=["name", "id"], name="models_by_name"),
            models.Index(
                fields=["connection"], condition=models.Q(state="missing"), name="missing_models"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state_text(self) -> str:
        """`missing 2` says in how many listings."""
        return f"missing {self.missing}" if self.state == self.State.MISSING else self.state


class PriceChange(models.Model):
    """A price of a model that changed; NULL: it was, or is, unknown."""

    model = models.ForeignKey(CatalogueModel, on_delete=models.CASCADE, related_name="changes")
    field = models.CharField(max_length=16)
    old = ExactDecimalField(null=True)
    new = ExactDecimalField(null=True)
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.field} at {self.at:%Y-%m-%d %H:%M}"
