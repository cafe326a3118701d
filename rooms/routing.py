"""The ASGI application: Django, and the rooms beside it."""

from __future__ import annotations

from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path

from rooms.consumers import LiveConsumer
from rooms.edge import Application, edge
from rooms.node import running
from rooms.transports.commands import commands
from rooms.transports.poll import poll
from rooms.transports.rest import guarded
from rooms.transports.stream import stream


async def nothing_here(scope: Any, receive: Any, send: Any) -> None:
    """No socket lives at this address: the handshake is refused, and nothing is logged as an error."""
    await receive()
    await send({"type": "websocket.close"})


# Django's types know of views alone; Channels routes consumers by the same patterns.
websocket_urlpatterns: list[Any] = [
    path("live/ws", LiveConsumer.as_asgi()),  # type: ignore[arg-type]
    re_path("", nothing_here),  # type: ignore[arg-type]
]
http_urlpatterns: list[Any] = [
    path("live/stream", stream),  # type: ignore[arg-type]
    path("live/poll", poll),  # type: ignore[arg-type]
    path("live/commands", commands),  # type: ignore[arg-type]
]


def application(django: Application) -> Application:
    """The whole site: ``django`` answers http, the rooms what is live, and the node starts and stops with it."""
    site = ProtocolTypeRouter(
        {
            "http": URLRouter([*http_urlpatterns, re_path("", guarded(django))]),  # type: ignore[arg-type, list-item]
            "websocket": URLRouter(websocket_urlpatterns),
            "lifespan": lifespan,
        }
    )
    return edge(site)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """The server's start and stop. daphne has none of it: there the node starts with the first connection."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            running.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await running.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
