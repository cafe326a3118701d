"""How long the transaction of one ``chat.send`` takes, without any server: run with the site's settings.

    python -m benchmarks.peers.commit COUNT

Prints the microseconds of each as a JSON array.
"""

from __future__ import annotations

import json
import sys
import time


def main(count: int) -> None:
    import django

    django.setup()
    from django.contrib.auth import get_user_model

    from rooms import commands

    user = get_user_model().objects.get(username="person-0").pk
    taken = []
    for number in range(count + 20):  # the first open connections and prepare statements
        began = time.perf_counter()
        commands.perform(user, "chat.send", {"text": f"{number} " + "x" * 190}, room="bench/room-0")
        taken.append(round((time.perf_counter() - began) * 1e6))
    print(json.dumps(taken[20:]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
