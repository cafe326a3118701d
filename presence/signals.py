"""What a host may listen to.

``person_left``: a person has left a room, on the last of their connections, and did not come back in time. Sent at
least once for each time, by one node, after the commit and on a thread that may ask the database; after a crash of that
node another one sends it, perhaps again. A receiver that fails is logged, and told again later. Arguments:

* ``room``: the room's primary key, ``user``: the user's, as a string.
* ``since``, ``left``: when they came and left, by the database's clock.
* ``departure``: a number that is the same when it is told again.
"""

from django.dispatch import Signal

person_left = Signal()
