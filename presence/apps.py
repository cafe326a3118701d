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
        from rooms.slots import Slot, fill

        attendance.register(Tracker)
        fill(Slot.BESIDE_ROOM, "presence/_beside_room.html")
        fill(Slot.ROOM_LIST, "presence/_room_list.html")
        fill(Slot.ROOM_ROW, "presence/_room_row.html")
