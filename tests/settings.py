"""The site's settings, and a small app of a host's own. ``Sites.running(rooms={...})`` sets ``ROOMS``."""

import json
import os

from realtime_project.settings import *  # noqa: F403
from realtime_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.hostapp"]
ROOT_URLCONF = "tests.hostapp.urls"
ROOMS = json.loads(os.environ.get("TEST_ROOMS", "{}"))
