"""Pages and REST without the rooms' live part, for a site that serves that elsewhere."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "realtime_project.settings")

application = get_wsgi_application()
