"""What a server runs: Django's pages, and the rooms beside them."""

import os
import warnings

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "realtime_project.settings")

# First: it sets Django up, which what follows needs when it is imported.
django_application = get_asgi_application()

from rooms.routing import application as live  # noqa: E402

# About whitenoise's files, for each process anew. They are small, and Django reads them in a thread.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

application = live(django_application)
