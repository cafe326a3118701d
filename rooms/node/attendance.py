"""Who comes and goes on this node, told to whoever keeps count of it.

Rooms know of nobody who does; the presence app registers itself here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from django.core.exceptions import ImproperlyConfigured

from rooms.changes import Change
from rooms.delivery.reader import Reader

if TYPE_CHECKING:
    from rooms.models import Tenant
    from rooms.node.connection import Connection
    from rooms.node.hub import Hub


class Attendance(Protocol):
    """One of each hub. All of it is called on the hub's event loop and returns at once."""

    def start(self) -> None: ...

    async def stop(self) -> None:
        """Nobody is here any more; what is not told yet must be told now."""

    def opened(self, connection: Connection) -> None: ...

    def joined(self, reader: Reader, *, anew: bool) -> bool:
        """The reader is served from now on; whether the snapshot of the room is due to it first.

        :param anew: it does not go on from the last answer: its client may know nothing of the room.
        """

    def left(self, reader: Reader, *, ended: bool) -> None:
        """It is served no more.

        :param ended: it may not read the room any longer, and does not come back in a moment.
        """

    def doubted(self, change: Change) -> None:
        """Rights may have changed. Readers who lost theirs leave by themselves; this is for who is here without one."""

    def closed(self, connection: Connection) -> None:
        """``connection.closed`` says why. Its readers have left."""

    def snapshot(self, reader: Reader) -> bytes | None:
        """The vector that stands for all that the reader was passed over; None while nobody knows it yet.

        Who said None wakes the room's readers when it is known.
        """


factory: Callable[[Hub], Attendance] | None = None
_ask: Callable[[str], dict[str, set[str]]] | None = None


def register(
    begin: Callable[[Hub], Attendance], *, connected: Callable[[str], dict[str, set[str]]] | None = None
) -> None:
    """From now on the hub of a process has one of these.

    :param connected: answers :func:`connected` for the slug of a tenant.
    """
    global factory, _ask
    factory, _ask = begin, connected


def connected(tenant: Tenant | str) -> dict[str, set[str]]:
    """Who is in any room of this tenant now, on whichever node, by what carries them::

        {"ws": {"1", "7"}, "sse": {"7"}, "poll": set(), "any": {"1", "7"}}

    Ids of users, as strings. One statement. People of a node that died count until its lease ends, as they are shown
    until then. A tenant that is not there has nobody.

    :param tenant: or its slug.
    :raises ImproperlyConfigured: nobody keeps count here.
    """
    if _ask is None:
        raise ImproperlyConfigured('rooms.connected() asks who is here: add "presence" to INSTALLED_APPS.')
    return _ask(tenant if isinstance(tenant, str) else tenant.slug)
