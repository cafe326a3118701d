"""``{% load rooms %}``"""

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.filter
def exact(text: str) -> SafeString:
    """Escaped so that the browser has the very same text: its parser would make a bare CR an LF."""
    return mark_safe(escape(text).replace("\r", "&#13;"))  # noqa: S308 escaped in this line
