"""What an operator sees of presence, beside :mod:`rooms.metrics`. Of this process, as there."""

from prometheus_client import Counter, Gauge

people = Gauge("presence_people", "People who are connected to this node and in a room; every PRESENCE['RENEWAL']")
seats = Gauge("presence_seats", "Connections of this node in rooms, each in each; every PRESENCE['RENEWAL']")
writes = Counter("presence_writes", "Transactions of comings and goings, by outcome", ["outcome"])
changes = Counter("presence_changes", "New versions of rooms that this node has written")
reads = Counter("presence_reads", "Rooms whose people were read again, by whose", ["whose"])
diffs = Counter("presence_diffs", "Differences told to the readers of a room")
departures = Counter("presence_departures", "Departures told to the site's own code, by outcome", ["outcome"])
disconnected = Counter("presence_disconnected", "Connections of this node that an administrator has ended")
