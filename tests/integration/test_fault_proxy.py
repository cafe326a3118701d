"""The proxy that the browser tests break networks with."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

from tests.support.fault_proxy import FaultProxy


async def test_it_closes_a_socket_that_comes_as_it_ends() -> None:
    """One that is left open fails whichever test runs when Python finds it."""
    proxy = FaultProxy(upstream=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        await proxy.start()
        with socket.create_connection(("127.0.0.1", proxy.port)):
            await asyncio.sleep(0)  # the loop sees that somebody is there
            await asyncio.sleep(0)  # and begins to accept
            await proxy.stop()
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
