"""The client for programs: bots, tests, ``manage.py replay``. It needs no Django. See ``docs/client.md``.

::

    from rooms.client import connect

    async with connect("https://rooms.example.com", ticket=fresh_ticket) as live:
        room = live.room("acme/general")
        answer = await room.send("chat.send", {"text": "hi"})
        async for event in room:
            print(event.seq, event.name, event.data)
"""

from rooms.client.errors import Closed, LiveError
from rooms.client.events import Event, Left, Notice, PassedOver, Reset
from rooms.client.identity import Session
from rooms.client.live import Live
from rooms.client.opening import connect
from rooms.client.outbox import Patience
from rooms.client.room import Room
from rooms.client.state import Phase, State

__all__ = [
    "Closed",
    "Event",
    "Left",
    "Live",
    "LiveError",
    "Notice",
    "PassedOver",
    "Patience",
    "Phase",
    "Reset",
    "Room",
    "Session",
    "State",
    "connect",
]
