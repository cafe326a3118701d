"""The site's settings without who is here, to measure what that costs."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "presence"]

ROOT_URLCONF = "tests.support.urls_without_presence"
