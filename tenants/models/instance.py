"""One database server of the fleet, and the results of its checks."""

from __future__ import annotations

import re
from itertools import count
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Max, Q

from common.encryption import Binding, EncryptedField, decrypt, encrypt
from common.fields import RedactedTextField

MAX_ID = 2**31 - 1  # of PostgreSQL's integer; rainbo_instance_id has the same bound


class SslMode(models.TextChoices):
    """libpq's sslmode, weakest first; the order is used to detect a weakening."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


ENCRYPTING = frozenset({SslMode.REQUIRE, SslMode.VERIFY_CA, SslMode.VERIFY_FULL})


class AuthMethod(models.TextChoices):
    """libpq's require_auth."""

    SCRAM = "scram-sha-256", "scram-sha-256 (default)"
    MD5 = "md5", "md5 (weak)"
    PASSWORD = "password", "password in clear (only inside TLS)"


class Health(models.TextChoices):
    """What the last check found. Refused: the server answered, and rejected RAINBO's login."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    REFUSED = "refused"
    DOWN = "down"
    UNKNOWN = "unknown"


UNREADABLE = (Health.DOWN, Health.REFUSED)  # nothing new is known of what is there


# Words that people give to instances, to choose some of them.
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:=-]{0,49}")
LABEL_WORDS = "letters, digits and . _ / : = - after a first letter or digit, 50 at most"
MOST_LABELS = 20


def parse_id(text: str) -> int | None:
    """Return the instance id that a text is, as the directory names it; None if it can't be one."""
    number = int(text) if re.fullmatch("0|[1-9][0-9]{0,9}", text) else None
    return number if number is not None and number <= MAX_ID else None


class RdsInstance(models.Model):
    id = models.PositiveIntegerField(
        primary_key=True,
        validators=[MinValueValidator(1)],
        help_text="the --rds number; what the master's directory calls rds_instance_id",
    )
    name = models.CharField(max_length=100, unique=True)
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField(
        default=5432, validators=[MinValueValidator(1), MaxValueValidator(65535)]
    )
    writer_host = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="where ghost users are written, if the host is a replica; empty: the host itself",
    )
    writer_port = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(65535)],
        help_text="empty: the same port",
    )
    database = models.CharField(max_length=63)
    user = models.CharField(max_length=63)
    password = EncryptedField(editable=False)
    ssl_mode = models.CharField(max_length=16, choices=SslMode.choices, default=SslMode.VERIFY_FULL)
    ssl_ca = models.TextField(
        "CA certificates (PEM)", blank=True, help_text="empty: the system's own"
    )
    require_auth = models.CharField(
        max_length=16, choices=AuthMethod.choices, default=AuthMethod.SCRAM
    )
    schema_group = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        help_text="instances with one schema: their SQL files are in this folder of "
        "RAINBO_SOURCE_SQL; empty: the folder itself",
    )
    has_tenants = models.BooleanField(
        default=True,
        db_default=True,
        help_text="off for a server that holds the directory of e-mails only",
    )
    has_ghosts = models.BooleanField(
        "has ghost users",
        default=True,
        db_default=True,
        help_text="off where nobody enters as support; ghost users of people who left are retired",
    )
    group = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        validators=[RegexValidator(rf"\A{LABEL.pattern}\Z", f"Use {LABEL_WORDS}.")],
        help_text="for example a region or a team; lists and alert channels can be limited to it",
    )
    labels = ArrayField(
        models.CharField(
            max_length=50,
            validators=[RegexValidator(rf"\A{LABEL.pattern}\Z", f"Use {LABEL_WORDS}.")],
        ),
        size=MOST_LABELS,
        default=list,
        blank=True,
        db_default=[],
        help_text="words such as production or tier=gold; each works like a group",
    )
    app_url = models.URLField(blank=True, help_text="where the tenants of this instance sign in")
    tenant_url = models.CharField(
        "tenant URL",
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="the address of one tenant, with {tenant} for its id; empty: none of its own",
    )
    ghost_roles = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="what ghost users may do there: one line for each RAINBO role, such as "
        "support_admin=support; of several roles the first line counts; empty: nothing beyond "
        "being a ghost user",
    )
    support_mail = models.BooleanField(
        "mail about support access",
        default=False,
        db_default=False,
        help_text="each tenant's contact gets a mail when somebody enters it as support",
    )
    support_mail_text = models.TextField(
        "text of that mail",
        blank=True,
        default="",
        db_default="",
        help_text="with {reason}; also {tenant}, {person}, {ticket}, {from}, {until} and {access}; "
        "empty: a text in English",
    )
    is_active = models.BooleanField(default=True)
    is_master = models.BooleanField(default=False, help_text="holds the directory of e-mails")
    notes = models.TextField(blank=True)

    health = models.CharField(
        max_length=8, choices=Health.choices, default=Health.UNKNOWN, editable=False
    )
    last_check_at = models.DateTimeField(null=True, editable=False)
    latency_ms = models.FloatField(null=True, editable=False)
    last_error = RedactedTextField(blank=True, editable=False)
    server_version = models.CharField(max_length=64, blank=True, editable=False)
    system_identifier = models.CharField(max_length=32, blank=True, editable=False)
    database_oid = models.BigIntegerField(null=True, editable=False)
    timeline = models.BigIntegerField(null=True, editable=False)
    is_replica = models.BooleanField(null=True, editable=False)
    replica_lag_s = models.FloatField(
        null=True, editable=False, help_text="how old a replica's data was at the last check"
    )
    certificate_ends_at = models.DateTimeField(
        null=True, editable=False, help_text="until when the server's TLS certificate is valid"
    )
    ca_ends_at = models.DateTimeField(
        null=True, editable=False, help_text="until when the CA certificate given here is valid"
    )
    certificate_read_at = models.DateTimeField(null=True, editable=False)
    certificate_of = models.CharField(
        max_length=16,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="digest of the address and CA that the certificates were read for",
    )
    copy_of = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="copies",
        editable=False,
        help_text="the instance that this one was restored from, accepted by a person",
    )

    class Meta:
        db_table = "rds_instances"
        ordering: ClassVar = ["id"]
        verbose_name = "instance"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_master"], condition=Q(is_master=True), name="at_most_one_master"
            ),
        ]
        permissions: ClassVar = [
            ("impersonate", "Can enter tenants as support"),
            ("check_instance", "Can check instances"),
        ]

    def __str__(self) -> str:
        return self.label_of(self.pk, self.name)

    @staticmethod
    def label_of(pk: int, name: str) -> str:
        return f"instance {pk} ({name})"

    @classmethod
    def next_id(cls) -> int:
        """Return the id after the highest, or the lowest free one if there is none after it."""
        last = cls.objects.aggregate(Max("id"))["id__max"] or 0
        if last < MAX_ID:
            return int(last) + 1
        taken = set(cls.objects.values_list("pk", flat=True))
        return next(number for number in count(1) if number not in taken)

    @property
    def keeps_ghosts(self) -> bool:
        """Whether every admin should have a ghost user there."""
        return self.is_active and self.has_ghosts

    @property
    def is_down(self) -> bool:
        """Whether its last check could not read it; nobody checks an inactive one."""
        return self.is_active and self.health in UNREADABLE

    @property
    def identity(self) -> str:
        """The remembered identity, empty before the first contact."""
        return f"{self.system_identifier}/{self.database_oid}" if self.system_identifier else ""

    @property
    def writer(self) -> tuple[str, int]:
        """The host and port where ghost users are written."""
        if not self.writer_host:
            return self.host, self.port
        return self.writer_host, self.writer_port or self.port

    @property
    def binding(self) -> Binding:
        """The connection settings that a stored password is valid for."""
        writer = [str(part) for part in self.writer] if self.writer_host else []
        return Binding(
            row=f"{self._meta.db_table}/{self.pk}",
            settings=(
                *(self.host, str(self.port), self.user, self.ssl_ca, self.require_auth),
                *writer,
            ),
            strength=list(SslMode).index(SslMode(self.ssl_mode)),
        )

    @property
    def sends_password_in_clear(self) -> bool:
        """Whether a connection would send the password in clear text, maybe without TLS."""
        return self.require_auth == AuthMethod.PASSWORD and self.ssl_mode not in ENCRYPTING

    def set_password(self, password: str) -> None:
        """Encrypt a password for the current connection settings.

        Raises UsageError for one that no server accepts.
        """
        self.password = encrypt(password, self.binding)

    def rebind_password(self) -> None:
        """Bind the stored password to settings that are stronger now. Raises CredentialError."""
        self.set_password(self.reveal_password())

    def reveal_password(self) -> str:
        """Return the password in clear text.

        Raises CredentialError if it was tampered with, was encrypted with a missing key, belongs
        to another row, or was entered for other connection settings.
        """
        return decrypt(self.password, self.binding, str(self))


class InstanceCheck(models.Model):
    """The result of one health check; one row per minute and instance."""

    instance = models.ForeignKey(RdsInstance, on_delete=models.CASCADE, related_name="checks")
    minute = models.DateTimeField()
    health = models.CharField(max_length=8, choices=Health.choices)
    latency_ms = models.FloatField(null=True)
    skew_ms = models.FloatField(null=True, help_text="its clock minus ours")
    replica_lag_s = models.FloatField(null=True, help_text="how old a replica's data was")
    connections = models.IntegerField(null=True, help_text="in use")
    max_connections = models.IntegerField(null=True)
    server_version = models.CharField(max_length=64, blank=True)
    error = RedactedTextField(blank=True)

    class Meta:
        db_table = "instance_checks"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["instance", "minute"], name="one_check_a_minute"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["minute"],
                condition=Q(health__in=["down", "refused", "degraded"]),
                name="checks_with_problems",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.health} at {self.minute:%H:%M}"


class InstanceExamination(models.Model):
    """The last findings of check_fleet, or of the console's test, on an instance.

    findings: pairs of a level and its text, as `tenants.health.findings` has them.
    """

    instance = models.OneToOneField(
        RdsInstance, on_delete=models.CASCADE, primary_key=True, related_name="examination"
    )
    at = models.DateTimeField()
    findings = models.JSONField(default=list)

    class Meta:
        db_table = "instance_examinations"
        default_permissions = ()  # the permission to view the instance is enough

    def __str__(self) -> str:
        return f"instance {self.pk} at {self.at:%Y-%m-%d %H:%M:%S}"
