"""The environment is the configuration. Each case is a process of its own: settings are read once."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
READ = """
import json, sys
from realtime_project import settings
names = [name for name in dir(settings) if name.isupper()]
print(json.dumps({name: getattr(settings, name) for name in names}, default=str))
"""


def run(env: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    ours = {"PATH": os.environ["PATH"]}
    command = (sys.executable, *(command or ("-c", READ)))
    return subprocess.run(command, cwd=ROOT, env={**ours, **env}, capture_output=True, text=True)


def read(**env: str) -> Any:
    done = run(env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_debug_a_secret_key_must_be_given() -> None:
    done = run({})
    assert done.returncode != 0
    assert "ImproperlyConfigured: Set SECRET_KEY in the environment" in done.stderr


def test_for_a_command_that_is_a_sentence_and_no_traceback() -> None:
    done = run({}, "manage.py", "serve")
    assert done.returncode == 1
    assert done.stderr == "Set SECRET_KEY in the environment to a long random string, or DEBUG=1 to develop.\n"


@pytest.mark.parametrize(
    "env",
    [{}, {"REDIS_URL": "redis://a:6379", "TRUSTED_PROXIES": "10.0.0.0/8"}],
    ids=["as it comes", "of several nodes"],
)
def test_a_real_site_passes_every_check(env: dict[str, str]) -> None:
    key = "".join(chr(33 + number) for number in range(90))
    real = {"SECRET_KEY": key, "ALLOWED_HOSTS": "rooms.example.com", **env}
    done = run(real, "manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("System check identified no issues")


def test_plain_http_is_warned_of() -> None:
    done = run({"SECRET_KEY": "k", "INSECURE": "1"}, "manage.py", "check", "--deploy")
    assert {"security.W008", "security.W012", "security.W016"} <= set(re.findall(r"\(([a-z]+\.W\d+)\)", done.stderr))


def test_keys_that_were_in_use_may_be_named() -> None:
    assert read(SECRET_KEY="new", SECRET_KEY_FALLBACKS="old, older")["SECRET_KEY_FALLBACKS"] == ["old", "older"]
    assert read(SECRET_KEY="new")["SECRET_KEY_FALLBACKS"] == []


def test_proxies_are_those_of_this_machine_or_those_that_are_listed() -> None:
    assert read(DEBUG="1")["ROOMS"] == {}
    assert read(DEBUG="1", TRUSTED_PROXIES="10.0.0.0/8, ::1")["ROOMS"] == {"TRUSTED_PROXIES": ["10.0.0.0/8", "::1"]}
    assert read(DEBUG="1", TRUSTED_PROXIES="")["ROOMS"] == {"TRUSTED_PROXIES": []}


@pytest.mark.parametrize("value", ["1", "true", "True", "yes", "on"])
def test_debug_brings_a_key_and_the_local_hosts(value: str) -> None:
    settings = read(DEBUG=value)
    assert settings["DEBUG"] is True
    assert settings["SECRET_KEY"]
    assert settings["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert settings["SECURE_SSL_REDIRECT"] is False


@pytest.mark.parametrize("value", ["", "0", "false", "off", "ture"])
def test_anything_else_is_not_debug(value: str) -> None:
    settings = read(DEBUG=value, SECRET_KEY="given")
    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"] == []


def test_daphne_is_for_development() -> None:
    assert "daphne" in read(DEBUG="1")["INSTALLED_APPS"]
    assert "daphne" not in read(SECRET_KEY="given")["INSTALLED_APPS"]


def test_a_real_site_is_https_only() -> None:
    settings = read(SECRET_KEY="given", ALLOWED_HOSTS="a.example, b.example", CSRF_TRUSTED_ORIGINS="https://a.example")
    assert settings["SECRET_KEY"] == "given"
    assert settings["ALLOWED_HOSTS"] == ["a.example", "b.example"]
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://a.example"]
    assert settings["SECURE_SSL_REDIRECT"] and settings["SECURE_HSTS_SECONDS"] > 0
    assert settings["SESSION_COOKIE_SECURE"] and settings["CSRF_COOKIE_SECURE"]


def test_insecure_is_plain_http_without_debug() -> None:
    settings = read(SECRET_KEY="given", INSECURE="1")
    assert settings["DEBUG"] is False
    assert not settings["SECURE_SSL_REDIRECT"] and not settings["SECURE_HSTS_SECONDS"]
    assert not settings["SESSION_COOKIE_SECURE"] and not settings["CSRF_COOKIE_SECURE"]
    assert settings["SECURE_PROXY_SSL_HEADER"] is None


def test_by_itself_the_log_is_sqlite_beside_the_project() -> None:
    database = read(DEBUG="1")["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.sqlite3"
    assert database["NAME"] == str(ROOT / "db.sqlite3")
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]
    assert database["TEST"]["NAME"].endswith(".sqlite3")


def test_postgresql_has_a_pool_and_no_persistent_connections() -> None:
    database = read(DEBUG="1", DATABASE_URL="postgresql://me:p%40ss@db.example:5433/rooms?sslmode=require")["DATABASES"]
    default = database["default"]
    assert default["ENGINE"] == "django.db.backends.postgresql"
    assert (default["HOST"], default["PORT"], default["NAME"]) == ("db.example", 5433, "rooms")
    assert (default["USER"], default["PASSWORD"]) == ("me", "p@ss")
    assert default["CONN_MAX_AGE"] == 0
    assert default["OPTIONS"]["pool"]["max_size"] == 20
    assert default["OPTIONS"]["sslmode"] == "require"


def test_a_socket_directory_names_a_postgresql() -> None:
    database = read(DEBUG="1", DATABASE_URL="postgresql://postgres@/rooms?host=%2Frun%2Fpostgresql")["DATABASES"]
    assert database["default"]["OPTIONS"]["host"] == "/run/postgresql"


def test_the_layer_is_in_memory_until_redis_is_named() -> None:
    assert read(DEBUG="1")["CHANNEL_LAYERS"]["default"] == {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    layer = read(DEBUG="1", REDIS_URL="redis://a:6379/0, redis://b:6379/0")["CHANNEL_LAYERS"]["default"]
    assert layer["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert layer["CONFIG"]["hosts"] == ["redis://a:6379/0", "redis://b:6379/0"]


def test_the_readme_lists_what_the_environment_may_say() -> None:
    read_by_code = set()
    for path in ("realtime_project/settings.py", "rooms/conf.py", "rooms/management/commands/serve.py"):
        read_by_code |= set(re.findall(r"""(?:_flag|_list|environ\.get)\("([A-Z_]+)\"""", (ROOT / path).read_text()))
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)) == read_by_code
