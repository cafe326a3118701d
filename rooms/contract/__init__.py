"""The wire contract: every object, event, command, error and close code, declared once.

Each shape is one :class:`msgspec.Struct`. REST shows it, events carry it, commands are checked against it, and the
schemas are generated from it. A host declares its own with :func:`event` and :func:`command`::

    @event("poll.voted", policy="latest", key=lambda data: data.poll)
    class PollVoted(Struct):
        poll: str
        votes: int

This module imports nothing of Django: models and settings take their lengths and choices from here.
"""

from rooms.contract.commands import *  # noqa: F403 all of it, under one name
from rooms.contract.errors import *  # noqa: F403
from rooms.contract.events import *  # noqa: F403
from rooms.contract.objects import *  # noqa: F403
from rooms.contract.values import *  # noqa: F403
