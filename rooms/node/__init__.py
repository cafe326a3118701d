"""This process: its feeds, its threads and its place on the channel layer; I/O at the rim."""
