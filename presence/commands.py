"""What people say of themselves."""

from __future__ import annotations

from django.db import transaction

from presence import contract, store, tracker
from presence.models import Connection
from presence.state import Batch, Saying
from rooms.contract import Call, Right, command
from rooms.node import running
from rooms.signals import committed


@command("presence.set", contract.SetStatus, right=Right.READ, transient=True)
def set_status(call: Call, data: contract.SetStatus) -> None:
    """On the connection over which it came; on all of the person's in this room where that is not known."""
    key = None if call.connection is None else Connection.key(call.user.pk, call.connection)
    saying = Saying(call.user.pk, call.room.pk, key, data.status, data.text)
    transaction.on_commit(lambda: _say(saying), robust=True)


def _say(saying: Saying) -> None:
    hub = running.current()
    if hub is not None and isinstance(hub.attendance, tracker.Tracker):
        hub.loop.call_soon_threadsafe(hub.attendance.say, saying)
    else:
        written = store.write("", Batch(said=[saying]))
        if written.changes:
            committed.send_robust(sender=Saying, notices=[tracker.hint(written)])
