from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PresenceConfig(AppConfig):
    """Who is here; presence is built on top of rooms, and rooms never import it."""

    name = "presence"
    verbose_name = _("presence")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from presence import commands, contract  # noqa: F401 they register themselves
        from presence.tracker import Tracker
        from rooms.node import attendance

        attendance.register(Tracker)
