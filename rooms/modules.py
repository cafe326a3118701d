"""The modules of the browser client that a page needs.

Asked for at once they come in one turn, and not in one for each step from a module to those that it imports.
"""

from __future__ import annotations

from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

CONNECTION = (
    "live",
    "connection",
    "outbox",
    "protocol",
    "room",
    "race",
    "times",
    "transports",
    "poll",
    "stream",
    "websocket",
    "http",
    "over-http",
    "acknowledge",
    "silence",
    "places",
    "post",
)
NEEDED = {
    "live-room": (
        "room-view",
        "older",
        "actions",
        "announcer",
        "composer",
        "end",
        "messages",
        "reactions",
        "shared",
        "status",
        "tools",
        "typing",
        "unread",
        "editor",
        "message",
        "quote",
        "drafts",
        "seams",
        "links",
        *CONNECTION,
    ),
    "room-list": ("message", "links", "shared", "status", *CONNECTION),
}


def preloads(entry: str) -> SafeString:
    """``{% preloads "live-room" %}``: asks for the modules that this one needs before it says so itself."""
    addresses = ((static(f"rooms/{name}.js"),) for name in NEEDED[entry])
    return format_html_join("\n", '<link rel="modulepreload" href="{}">', addresses)
