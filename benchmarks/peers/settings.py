"""The site's settings as they come, but for what ``BENCH_ROOMS`` says of ``ROOMS``."""

import json
import os

from realtime_project.settings import *  # noqa: F403

ROOMS = json.loads(os.environ.get("BENCH_ROOMS", "{}"))
