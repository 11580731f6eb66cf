"""The only place that reads the environment. docs/settings.md explains every variable."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import django_stubs_ext
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

from common import libpq
from rainbo import env_file, logs
from rainbo.env import Environment

# Lets Django's generic classes be subscripted, as the type checker wants them.
django_stubs_ext.monkeypatch()

for variable in libpq.SERVICE:
    os.environ.pop(variable, None)

BASE_DIR = Path(__file__).resolve().parent.parent
# Not an installed app, which each command would load: only its page's template and files are used.
NINJA_DIR = Path(str(find_spec("ninja").origin)).parent  # type: ignore[union-attr]
DAY = 24 * 60 * 60
env = Environment(env_file.completed(os.environ, BASE_DIR / ".env"))

# Secrets and switches
SECRET_KEY = env.required("RAINBO_SECRET_KEY", "give it 50 or more random characters")
RAINBO_CREDENTIAL_KEYS = env.required_names(
    "RAINBO_CREDENTIAL_KEYS", "give it Fernet keys, the newest first, separated by commas"
)
RAINBO_CRON_SECRET = env.text("RAINBO_CRON_SECRET", "")
DEBUG = env.flag("RAINBO_DEBUG", default=False)
RAINBO_HTTPS = env.flag("RAINBO_HTTPS", default=True)
RAINBO_COLLECTED_STATIC = env.flag("RAINBO_COLLECTED_STATIC", default=RAINBO_HTTPS and not DEBUG)

# Web
ALLOWED_HOSTS = env.names("RAINBO_ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = env.names("RAINBO_CSRF_TRUSTED_ORIGINS")
SECURE_SSL_REDIRECT = RAINBO_HTTPS
# How long browsers insist on HTTPS. To take it back, a lower one has to be served for as long.
RAINBO_HSTS_DAYS = env.integer("RAINBO_HSTS_DAYS", 365, 0, 2 * 365)
RAINBO_HSTS_PRELOAD = env.flag("RAINBO_HSTS_PRELOAD", default=False)
SECURE_HSTS_SECONDS = RAINBO_HSTS_DAYS * DAY if RAINBO_HTTPS else 0
# Both would bind other people's hosts: whoever wants that says so.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = RAINBO_HTTPS and RAINBO_HSTS_PRELOAD
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # see RAINBO_HSTS_PRELOAD
SECURE_REFERRER_POLICY = "same-origin"
RAINBO_BEHIND_PROXY = env.flag("RAINBO_BEHIND_PROXY", default=False)
if RAINBO_BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_ENGINE = "rainbo.auth.session_store"
SESSION_COOKIE_SECURE = RAINBO_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = env.integer("RAINBO_SESSION_HOURS", 12, 1, 24 * 30) * 60 * 60
RAINBO_SESSION_IDLE = env.integer("RAINBO_SESSION_IDLE_MINUTES", 60, 1, 24 * 60) * 60
CSRF_COOKIE_SECURE = RAINBO_HTTPS
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
ROOT_URLCONF = "rainbo.urls"
WSGI_APPLICATION = "rainbo.wsgi.application"

# Django
INSTALLED_APPS = [
    "rainbo.apps.ThemeConfig",
    "unfold.contrib.filters",
    "rainbo.apps.RainboConfig",
    "api.apps.ApiConfig",
    "tenants.apps.TenantsConfig",
    "integrations.apps.IntegrationsConfig",
    "alerts.apps.AlertsConfig",
    "syncs.apps.SyncsConfig",
    "activity.apps.ActivityConfig",
    "django_q",
    "csp",
    "axes",
    "django_otp",
    "rainbo.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "rainbo.health.answer_probes",
    "django.middleware.security.SecurityMiddleware",
    "api.middleware.serve_programs",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "rainbo.visible_controls.show",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "rainbo.auth.sessions.limit",
    "rainbo.auth.second_factor_middleware.ask",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "rainbo.time_zone.display_zone",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates", NINJA_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Signing in: who fails too often waits, and a second factor can be demanded
RAINBO_LOGIN_ATTEMPTS = env.integer("RAINBO_LOGIN_ATTEMPTS", 5, 1, 100)
RAINBO_LOGIN_LOCK_MINUTES = env.integer("RAINBO_LOGIN_LOCK_MINUTES", 15, 1, 24 * 60)
RAINBO_REQUIRE_MFA = env.names("RAINBO_REQUIRE_MFA")
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "rainbo.auth.backends.PeopleBackend",
]
AXES_HANDLER = "rainbo.auth.lockout.LockHandler"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], ["ip_address"]]
AXES_FAILURE_LIMIT = RAINBO_LOGIN_ATTEMPTS
AXES_COOLOFF_TIME = timedelta(minutes=RAINBO_LOGIN_LOCK_MINUTES)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "rainbo.auth.lockout.counted_address"
AXES_USERNAME_CALLABLE = "rainbo.auth.lockout.counted_name"
AXES_LOCKOUT_CALLABLE = "rainbo.auth.lockout.refuse"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = "rainbo.formats"

# Times are UTC inside; the zone is for people's eyes.
USE_TZ = True
TIME_ZONE = "UTC"
RAINBO_TIME_ZONE = env.choice(
    "RAINBO_TIME_ZONE", "UTC", available_timezones(), "a time zone such as Europe/Berlin"
)

# Static files: collected and hashed in production, straight from the code elsewhere
STATIC_URL = "static/"
STATICFILES_DIRS = [NINJA_DIR / "static"]
STATIC_ROOT = (
    env.text("RAINBO_STATIC_ROOT", str(BASE_DIR / "staticfiles"))
    if RAINBO_COLLECTED_STATIC
    else None
)
WHITENOISE_USE_FINDERS = not RAINBO_COLLECTED_STATIC
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if RAINBO_COLLECTED_STATIC
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# RAINBO's own database. A dead peer is noticed well before a lease runs out.
RAINBO_CONNECT_TIMEOUT = env.integer("RAINBO_CONNECT_TIMEOUT", 5, 2, 300)
RAINBO_DB_POOLER = env.flag("RAINBO_DB_POOLER", default=False)
# The engine's sessions have temporary tables and settings of their own: no pooler can give them.
RAINBO_DB_DIRECT_HOST = env.text("RAINBO_DB_DIRECT_HOST", "")
RAINBO_DB_DIRECT_PORT = env.integer("RAINBO_DB_DIRECT_PORT", 5432, 1, 65535)
DB_SSLMODE = env.choice(
    "RAINBO_DB_SSLMODE",
    "prefer",
    ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
)
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": env.text("RAINBO_DB_HOST", "localhost"),
        "PORT": env.integer("RAINBO_DB_PORT", 5432, 1, 65535),
        "NAME": env.text("RAINBO_DB_NAME", "rainbo"),
        "USER": env.text("RAINBO_DB_USER", "rainbo"),
        "PASSWORD": env.text("RAINBO_DB_PASSWORD", ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": RAINBO_DB_POOLER,
        "OPTIONS": libpq.KEYWORDS
        | {
            "sslmode": DB_SSLMODE,
            "sslrootcert": libpq.root_certificates(
                DB_SSLMODE, env.file_or("RAINBO_DB_SSLROOTCERT", libpq.SYSTEM)
            ),
            "require_auth": "none,password,md5,gss,sspi,scram-sha-256",  # empty allows nothing
            "application_name": "rainbo",
            "connect_timeout": RAINBO_CONNECT_TIMEOUT,
            "keepalives": 1,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
            # A process of ours that stops inside a transaction does not keep its locks for ever.
            # A pooler takes no such options: rainbo.own_database sets what it can.
            "options": ""
            if RAINBO_DB_POOLER
            else libpq.options(libpq.PINNED | libpq.SESSION_LIMITS),
        },
    }
}
# Django's caches hold pickles: whoever can write them runs code here. Nothing of RAINBO needs one.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}

# The queue only triggers: every run is recorded, fenced and repeated by RAINBO itself.
RAINBO_WORKERS = env.integer("RAINBO_WORKERS", 4, 1, 64)
RAINBO_PROCESS_MAX_MB = env.integer("RAINBO_PROCESS_MAX_MB", 1024, 0, 1_000_000)
RAINBO_RUN_LIMIT = env.integer("RAINBO_RUN_LIMIT", 900, 5, 7 * DAY)
RAINBO_RUN_LIMITS = env.limits("RAINBO_RUN_LIMITS", "ghost_users=1800", 5, 7 * DAY)
RAINBO_RETRY_SECONDS = env.integers("RAINBO_RETRY_SECONDS", "60,300,600", 1, DAY)
# The run's own limit comes first: it closes the record.
TASK_LIMIT = max([RAINBO_RUN_LIMIT, *RAINBO_RUN_LIMITS.values()]) + 60
Q_CLUSTER = {
    "name": "rainbo",
    "label": "Queue",
    "orm": "default",
    "workers": RAINBO_WORKERS,
    "queue_limit": RAINBO_WORKERS,
    "bulk": 1,
    "timeout": TASK_LIMIT,
    "retry": 2 * TASK_LIMIT + 300,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "poll": 1,
    "time_zone": "UTC",
}

# Workers are watched: a heartbeat goes through the queue and comes back through a worker.
RAINBO_HEARTBEAT_INTERVAL = env.integer("RAINBO_HEARTBEAT_INTERVAL", 60, 1, 60 * 60)
RAINBO_HEARTBEAT_TIMEOUT = env.integer("RAINBO_HEARTBEAT_TIMEOUT", 180, 3, DAY)
RAINBO_CLUSTER = env.text("RAINBO_CLUSTER", "")
RAINBO_QUEUE_MAX_WAIT = env.integer("RAINBO_QUEUE_MAX_WAIT", 300, 3, DAY)

# The schedules that syncs get when their schedules are first created, in UTC
RAINBO_SCHEDULES = env.pairs("RAINBO_SCHEDULES", "user_routing=*/5 * * * *; ghost_users=0 3 * * *")

# The fleet
RAINBO_SOURCE_SQL = env.folder("RAINBO_SOURCE_SQL")
RAINBO_FLEET_THREADS = env.integer("RAINBO_FLEET_THREADS", 16, 1, 256)
RAINBO_INSTANCE_CONNECTIONS = env.integer("RAINBO_INSTANCE_CONNECTIONS", 4, 1, 100)
RAINBO_SCRAM_KEYS = env.flag("RAINBO_SCRAM_KEYS", default=True)
RAINBO_PASSWORD_COMMANDS = env.pairs(
    "RAINBO_PASSWORD_COMMANDS", "*.rds.amazonaws.com=/usr/local/bin/rds-token {host} {port} {user}"
)
RAINBO_PASSWORD_SECONDS = env.integer("RAINBO_PASSWORD_SECONDS", 60, 0, DAY)
RAINBO_STATEMENT_TIMEOUT = env.integer("RAINBO_STATEMENT_TIMEOUT", 120, 1, DAY)
RAINBO_INSTANCE_LIMIT = env.integer("RAINBO_INSTANCE_LIMIT", 300, 1, DAY)

# What an instance may send; beyond it, the instance fails and nothing of it is used
RAINBO_READ_MAX_ROWS = env.integer("RAINBO_READ_MAX_ROWS", 20_000_000, 1, 2_000_000_000)
RAINBO_READ_MAX_MB = env.integer("RAINBO_READ_MAX_MB", 4096, 1, 1_000_000)
RAINBO_READ_GROWTH = env.integer("RAINBO_READ_GROWTH", 10, 2, 1_000_000)
RAINBO_ANSWER_MAX_KB = env.integer("RAINBO_ANSWER_MAX_KB", 4096, 64, 1_000_000)

# What commands and pages print for a person to run
RAINBO_MANAGE_COMMAND = env.text("RAINBO_MANAGE_COMMAND", "python manage.py")

# Leases and freshness
RAINBO_LEASE_TTL = env.integer("RAINBO_LEASE_TTL", 60, 3, 60 * 60)
RAINBO_LEASE_RENEWAL = env.integer("RAINBO_LEASE_RENEWAL", 10, 1, 20 * 60)
RAINBO_EXPECTED_PERIOD = env.optional_integer("RAINBO_EXPECTED_PERIOD", 60, 31 * DAY)
RAINBO_GRACE_SECONDS = env.integer("RAINBO_GRACE_SECONDS", 120, 0, DAY)
RAINBO_GRACE_PERCENT = env.percent("RAINBO_GRACE_PERCENT", 10)

# Days after which rows go, by the rules that docs/retention.md lists; 0 keeps them
RAINBO_RUN_RETENTION_DAYS = env.integer("RAINBO_RUN_RETENTION_DAYS", 90, 0, 36_500)
RAINBO_RUN_DETAIL_DAYS = env.integer("RAINBO_RUN_DETAIL_DAYS", 1, 0, 36_500)
RAINBO_CHECK_RETENTION_DAYS = env.integer("RAINBO_CHECK_RETENTION_DAYS", 7, 7, 36_500)
RAINBO_TENANT_COUNT_RETENTION_DAYS = env.integer(
    "RAINBO_TENANT_COUNT_RETENTION_DAYS", 400, 0, 36_500
)
RAINBO_TENANT_CHANGE_RETENTION_DAYS = env.integer(
    "RAINBO_TENANT_CHANGE_RETENTION_DAYS", 1100, 0, 36_500
)
RAINBO_INCIDENT_RETENTION_DAYS = env.integer("RAINBO_INCIDENT_RETENTION_DAYS", 400, 0, 36_500)
RAINBO_MESSAGE_RETENTION_DAYS = env.integer("RAINBO_MESSAGE_RETENTION_DAYS", 30, 2, 36_500)
RAINBO_RECORD_CHANGE_RETENTION_DAYS = env.integer(
    "RAINBO_RECORD_CHANGE_RETENTION_DAYS", 400, 0, 36_500
)

# Guards: (rows, percent) means the larger of the two
RAINBO_GUARD_ROUTES_REMOVED = env.rows_and_percent("RAINBO_GUARD_ROUTES_REMOVED", 20, 10)
RAINBO_GUARD_TENANTS_REMOVED = env.rows_and_percent("RAINBO_GUARD_TENANTS_REMOVED", 2, 10)
RAINBO_GUARD_GHOSTS_DEACTIVATED = env.rows_and_percent("RAINBO_GUARD_GHOSTS_DEACTIVATED", 3, 30)
RAINBO_GUARD_MOVED_PERCENT = env.percent("RAINBO_GUARD_MOVED_PERCENT", 30)
RAINBO_GUARD_COLUMN_PERCENT = env.percent("RAINBO_GUARD_COLUMN_PERCENT", 30)
RAINBO_GUARD_COUNTS_LOWERED = env.rows_and_percent("RAINBO_GUARD_COUNTS_LOWERED", 20, 30)
RAINBO_GUARD_TENANTS_EMPTIED = env.rows_and_percent("RAINBO_GUARD_TENANTS_EMPTIED", 2, 10)
RAINBO_GUARD_RECORDS_REMOVED = env.rows_and_percent("RAINBO_GUARD_RECORDS_REMOVED", 20, 30)
RAINBO_GUARD_MODELS_REMOVED = env.rows_and_percent("RAINBO_GUARD_MODELS_REMOVED", 2, 10)
RAINBO_GUARD_PRICES_CHANGED = env.rows_and_percent("RAINBO_GUARD_PRICES_CHANGED", 2, 30)
RAINBO_GUARD_PRICE_FACTOR = env.integer("RAINBO_GUARD_PRICE_FACTOR", 10, 2, 1_000_000)
RAINBO_WITHHELD_CAP = env.rows_and_percent("RAINBO_WITHHELD_CAP", 100, 1)

# Seconds for which the directory may be found unchanged by a count; 0: digests in every run
RAINBO_ROUTES_DIGEST_PERIOD = env.integer("RAINBO_ROUTES_DIGEST_PERIOD", 50 * 60, 0, 60 * 60)
# Compare stored routes whose digests are missing or outdated, rather than read the whole directory
RAINBO_ROUTES_RECOMPUTE = env.flag("RAINBO_ROUTES_RECOMPUTE", default=True)
# Index the first routes after they were all stored, in a table that is then attached
RAINBO_ROUTES_ATTACH = env.flag("RAINBO_ROUTES_ATTACH", default=True)

# Connected services
RAINBO_INTEGRATION_SERVICES = env.integer("RAINBO_INTEGRATION_SERVICES", 2, 1, 64)
RAINBO_OAUTH_CLIENT_SECRETS = env.clients()  # of apps that are registered at services
RAINBO_GONE_RECORD_DAYS = env.integer("RAINBO_GONE_RECORD_DAYS", 90, 0, 36_500)

# Model catalogues: the frequency of new ones, and whether they are fetched without a request
PRICING_SYNC_ENABLED = env.flag("PRICING_SYNC_ENABLED", default=True)
PRICING_SYNC_INTERVAL_HOURS = env.integer("PRICING_SYNC_INTERVAL_HOURS", 6, 1, 7 * 24)

# Alerts
RAINBO_CONSOLE_URL = env.text("RAINBO_CONSOLE_URL", "")
RAINBO_ALERTS_REMINDER_HOURS = env.integer("RAINBO_ALERTS_REMINDER_HOURS", 4, 0, 7 * 24)
RAINBO_ALERTS_PING_URL = env.text("RAINBO_ALERTS_PING_URL", "")
EMAIL_BACKEND = "alerts.channels.mail_server.Backend"
EMAIL_HOST = env.text("RAINBO_EMAIL_HOST", "")
EMAIL_PORT = env.integer("RAINBO_EMAIL_PORT", 587, 1, 65535)
EMAIL_HOST_USER = env.text("RAINBO_EMAIL_USER", "")
EMAIL_HOST_PASSWORD = env.text("RAINBO_EMAIL_PASSWORD", "")
RAINBO_EMAIL_TLS = env.choice("RAINBO_EMAIL_TLS", "starttls", ("starttls", "tls", "off"))
EMAIL_USE_TLS, EMAIL_USE_SSL = RAINBO_EMAIL_TLS == "starttls", RAINBO_EMAIL_TLS == "tls"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("RAINBO_EMAIL_FROM", "rainbo@localhost")

# Support access
RAINBO_SUPPORT_RETENTION_DAYS = env.integer("RAINBO_SUPPORT_RETENTION_DAYS", 365, 0, 36_500)
RAINBO_SUPPORT_HOURS = env.week_hours("RAINBO_SUPPORT_HOURS")
RAINBO_SUPPORT_TENANTS_PER_HOUR = env.integer("RAINBO_SUPPORT_TENANTS_PER_HOUR", 10, 0, 100_000)

# Requests that go out
RAINBO_HTTP_PRIVATE_HOSTS = env.names("RAINBO_HTTP_PRIVATE_HOSTS")
RAINBO_HTTP_CA = env.file_or("RAINBO_HTTP_CA", libpq.SYSTEM)
if RAINBO_HTTP_CA == libpq.SYSTEM:
    RAINBO_HTTP_CA = libpq.system_cas()

DEFAULT_EXCEPTION_REPORTER = "rainbo.exception_filter.WithoutSecrets"
DEFAULT_EXCEPTION_REPORTER_FILTER = "rainbo.exception_filter.WithoutValues"
RAINBO_LOG_FORMAT = env.choice("RAINBO_LOG_FORMAT", logs.usual_style(), ("json", "text"))
LOGGING = logs.config(
    style=RAINBO_LOG_FORMAT,
    level=env.choice("RAINBO_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
)

RAINBO_SENTRY_DSN = env.text("RAINBO_SENTRY_DSN", "")

LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
UNFOLD = {
    "SITE_TITLE": "RAINBO",
    "SITE_HEADER": "RAINBO",
    "SITE_SUBHEADER": "Fleet console",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": "rainbo.navigation.shows_history",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "rainbo.navigation.favicon"}
    ],
    "DASHBOARD_CALLBACK": "rainbo.dashboard.views.dashboard",
    "STYLES": ["rainbo.navigation.stylesheet", "rainbo.navigation.find_stylesheet"],
    "SCRIPTS": [
        "rainbo.navigation.focus_script",
        "rainbo.navigation.keyboard_script",
        "rainbo.navigation.find_script",
        "rainbo.navigation.copy_script",
        "rainbo.navigation.zone_script",
    ],
    "ACCOUNT": {"navigation": "rainbo.navigation.account"},
}
