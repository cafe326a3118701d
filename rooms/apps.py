from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RoomsConfig(AppConfig):
    name = "rooms"
    verbose_name = _("live rooms")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from rooms import changes, checks, services  # noqa: F401 they register themselves
        from rooms.node import running  # noqa: F401 it listens to what is committed

        changes.listen()
