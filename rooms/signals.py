"""What a host may listen to.

``committed``: events were committed. Sent once a transaction, after its commit, in the thread that committed, with
``notices``, a list of :class:`rooms.delivery.frames.Notice`. The node that runs in this process announces them; a host
may send mail. A receiver that fails is logged and harms nobody.

``tidying``: ``manage.py tidy`` is at work. Forget what is yours and nobody's any more; give a sentence that says what,
to be printed, or None.
"""

from django.dispatch import Signal

committed = Signal()

# Rights may have changed, with notices to all nodes: for the node of this process, as above.
access_changed = Signal()

tidying = Signal()
