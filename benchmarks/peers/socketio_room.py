"""python-socketio: one room, as its documentation has it. Run by uvicorn."""

from typing import Any

import socketio

server = socketio.AsyncServer(async_mode="asgi")
application = socketio.ASGIApp(server)


@server.event
async def join(sid: str, data: Any) -> None:
    await server.enter_room(sid, "room")
    await server.emit("joined", to=sid)


@server.event
async def say(sid: str, data: Any) -> None:
    await server.emit("said", data, room="room")
