from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PresenceConfig(AppConfig):
    """Who is here; presence is built on top of rooms, and rooms never import it."""

    name = "presence"
    verbose_name = _("presence")
    default_auto_field = "django.db.models.BigAutoField"
