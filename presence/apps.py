from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _


class PresenceConfig(AppConfig):
    """Who is here; presence is built on top of rooms, and rooms never import it."""

    name = "presence"
    verbose_name = _("presence")
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        """Ours refer to those of rooms; without them Django's own words would name a model that nobody here wrote."""
        if not apps.is_installed("rooms"):
            raise ImproperlyConfigured('Presence is built on rooms: add "rooms" to INSTALLED_APPS.')
        super().import_models()

    def ready(self) -> None:
        from presence import checks, commands, contract, directory, tidying  # noqa: F401 they register themselves
        from presence.tracker import Tracker
        from rooms.node import attendance
        from rooms.slots import Slot, fill

        attendance.register(Tracker, connected=directory.connected)
        fill(Slot.BESIDE_ROOM, "presence/_beside_room.html")
        fill(Slot.ROOM_LIST, "presence/_room_list.html")
        fill(Slot.ROOM_ROW, "presence/_room_row.html")
