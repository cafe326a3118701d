"""The site's settings. What differs from site to site comes from the environment; README.md lists it."""

import os
from logging import LogRecord
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}


def _list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


# Who we are

DEBUG = _flag("DEBUG")
# Plain http without DEBUG: tests, benchmarks, a closed network. Never on the internet.
INSECURE = _flag("INSECURE")
HTTPS = not (DEBUG or INSECURE)

SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("Set SECRET_KEY in the environment to a long random string, or DEBUG=1 to develop.")
    SECRET_KEY = "django-insecure-for-development-only"  # noqa: S105 worth nothing outside DEBUG
# Keys that were in use: what they signed stays good, sessions and tickets too, until they are taken out.
SECRET_KEY_FALLBACKS = _list("SECRET_KEY_FALLBACKS")

ALLOWED_HOSTS = _list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]" if DEBUG else "")
CSRF_TRUSTED_ORIGINS = _list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    # First: it replaces runserver. Who only serves does without it, and without 24 MB of Twisted.
    *(["daphne"] if DEBUG else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "rooms",
    "presence",
]

MIDDLEWARE = [
    # First what puts headers on answers: then a file, a redirect and an error have them too.
    "realtime_project.headers.more_headers",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "rooms.middleware.audit_origin",
]

ROOT_URLCONF = "realtime_project.urls"
ASGI_APPLICATION = "realtime_project.asgi.application"
WSGI_APPLICATION = "realtime_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# The log


def _database() -> dict[str, Any]:
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{quote(str(BASE_DIR / 'db.sqlite3'))}"
    # Persistent connections leak under ASGI. PostgreSQL gets a pool, and opening a SQLite file is cheap.
    database: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=0)}
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # Without IMMEDIATE two writers that both began by reading deadlock when they upgrade their locks.
        options["transaction_mode"] = "IMMEDIATE"
        options["timeout"] = 20  # seconds that a writer waits for another
        options["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
        # A file: threads cannot share Django's default, a test database in memory.
        name = Path(database["NAME"])
        database["TEST"] = {"NAME": str(name.with_name(f"test_{name.name}"))}
    elif database["ENGINE"] == "django.db.backends.postgresql":
        # Of one process. Its connections must fit `max_connections` of the server, 100 by default.
        options["pool"] = {"min_size": 2, "max_size": 20, "timeout": 10}
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The doorbell

_hosts = _list("REDIS_URL")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": _hosts}}
    if _hosts
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}  # reaches this process only
}

# Rooms

ROOMS: dict[str, Any] = {}
if "TRUSTED_PROXIES" in os.environ:  # by itself this machine alone
    ROOMS["TRUSTED_PROXIES"] = _list("TRUSTED_PROXIES")
PRESENCE: dict[str, Any] = {}

# People

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/accounts/login/"

# REST

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "rooms.api.errors.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Live rooms",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",  # its schemas are JSON Schema 2020-12, as msgspec makes them
    "SERVE_INCLUDE_SCHEMA": False,
    # From our own static files: a page of ours loads nothing from elsewhere.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# What a browser may do

# What is not named here is not allowed: no inline script, no inline style, nothing from another host.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "worker-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "manifest-src": [SELF],
        "connect-src": [SELF],  # the WebSocket of our own origin too: ws to http, wss to https
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
# `serve` speaks plain http behind a proxy, which ends TLS and must set this header itself; TRUSTED_PROXIES lists it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# Probes and Prometheus come straight to the node, past the proxy.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if HTTPS else 0
# A site cannot speak for the other hosts of its domain: subdomains and the preload list are its owner's choice.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if not _hosts and DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    SILENCED_SYSTEM_CHECKS.append("rooms.W020")  # the site in one process, as it comes; `serve` starts no second one

# Static files

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Nobody has to run collectstatic: whitenoise finds files where they are. A proxy that serves them needs STATIC_ROOT.
STATIC_ROOT = BASE_DIR / "staticfiles" if HTTPS else None
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False  # our pages load them, nobody else's

# Language and time

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# Logs: to the console, for whatever runs the process to collect


def _in_a_line(record: LogRecord) -> bool:
    record.exc_info = None
    return True


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"in_a_line": {"()": lambda: _in_a_line}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        # Its own handlers would print each line twice.
        "django": {"handlers": ["console"], "level": "INFO", "propagate": False},
        # What any scanner asks for is no bug of ours, and worth no traceback.
        "django.security.DisallowedHost": {"filters": ["in_a_line"]},
        "rooms": {"level": "INFO"},
        "presence": {"level": "INFO"},
        "uvicorn": {"level": "INFO"},
    },
}
