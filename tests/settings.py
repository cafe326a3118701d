"""The site's settings, and a small app of a host's own.

``Sites.running(rooms={...}, presence={...})`` sets ``ROOMS`` and ``PRESENCE``.
"""

import json
import os

from realtime_project.settings import *  # noqa: F403
from realtime_project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.hostapp"]
ROOT_URLCONF = "tests.hostapp.urls"
ROOMS = json.loads(os.environ.get("TEST_ROOMS", "{}"))
PRESENCE = {
    "LEAVE_GRACE": 1,
    "FLUSH": 0.05,
    **json.loads(os.environ.get("TEST_PRESENCE", "{}")),
}  # nobody waits for long
