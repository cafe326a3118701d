"""Real-time rooms for Django. What a host's code imports from here::

    import rooms

    @rooms.event("poll.voted", policy="latest", key=lambda data: data.poll)
    class PollVoted(msgspec.Struct): ...

    rooms.publish("acme/general", "poll.voted", {"poll": "lunch", "votes": 3}, by=request.user)

    rooms.connected("acme")["any"]                      # the ids of who is in a room of this tenant now

Importing this loads no model, so that a host's ``apps.py`` and settings may do it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rooms.changes import access_changed
    from rooms.contract import Call, Refused, Right, command, event
    from rooms.node.attendance import connected
    from rooms.publishing import apublish, publish

__all__ = ["Call", "Refused", "Right", "access_changed", "apublish", "command", "connected", "event", "publish"]

_HOMES = {
    "access_changed": "rooms.changes",
    "apublish": "rooms.publishing",
    "connected": "rooms.node.attendance",
    "publish": "rooms.publishing",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "rooms.contract")), name)
