"""Who is here. Presence is built on top of rooms, and rooms never import it."""
