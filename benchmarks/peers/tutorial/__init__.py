"""The chat server of the Channels tutorial, as its third part leaves it."""
