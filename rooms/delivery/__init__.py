"""Delivery as pure data: no Django, no asyncio, no clock of its own."""
