"""The peers: how each is started and spoken to, and the small programs that some of them need.

A program does what the peer's own documentation shows for a room, and nothing else.
"""
