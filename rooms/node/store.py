"""Numbers that the nodes of a site share, on the channel layer's Redis or Valkey; the library is ``limits``.

Nobody waits for it: a node decides by what it knows, and learns from here what the others did. So a store that is slow
or dead stops nothing. Until it is back each node holds the limits by its own memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from zlib import crc32

from django.conf import settings
from limits.aio.storage import RedisStorage

from rooms import metrics
from rooms.conf import Config
from rooms.node.doorbell import Breaker

logger = logging.getLogger(__name__)

AT_ONCE = 8  # requests under way; more would only be more connections


class Store:
    """Counters with an end. A request that fails or takes longer than ``publish_timeout`` is counted and gives None.

    :param urls: of one server or several, among which the keys are spread.
    """

    def __init__(self, urls: list[str], config: Config) -> None:
        self._shards = [RedisStorage(url, implementation="redispy", key_prefix="rooms") for url in urls]
        self._timeout = config.publish_timeout
        self._breaker = Breaker(config.breaker_failures, config.breaker_pause)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._away = False

    async def add(self, key: str, amount: int, seconds: int) -> int | None:
        """Add to a counter that begins at 0 and ends so many seconds after its beginning; gives what it is now."""
        return await self._ask(lambda: self._shard(key).incr(key, seconds, amount))

    async def get(self, key: str) -> int | None:
        return await self._ask(lambda: self._shard(key).get(key))

    async def close(self) -> None:
        for shard in self._shards:
            await shard.bridge.get_connection().aclose()  # type: ignore[attr-defined]  # of its client for redis-py

    def _shard(self, key: str) -> RedisStorage:
        return self._shards[crc32(key.encode()) % len(self._shards)]

    async def _ask(self, request: Callable[[], Awaitable[int]]) -> int | None:
        if self._breaker.is_open(time.monotonic()):
            metrics.limit_store.labels("not_tried").inc()
            return None
        try:
            async with asyncio.timeout(self._timeout), self._turns:
                found = await request()
        except Exception as error:
            self._breaker.failed(time.monotonic())
            metrics.limit_store.labels("failed").inc()
            if not self._away:
                self._away = True
                logger.warning("the store of the limits is away, each node counts for itself: %r", error)
            return None
        self._breaker.worked()
        metrics.limit_store.labels("ok").inc()
        if self._away:
            self._away = False
            logger.info("the store of the limits is back")
        return found


def shared(config: Config) -> Store | None:
    """The store of this site; None where its channel layer reaches one process, or is none that we know."""
    layer = settings.CHANNEL_LAYERS.get(config.layer, {})
    if not str(layer.get("BACKEND", "")).startswith("channels_redis."):
        return None
    hosts = (layer.get("CONFIG") or {}).get("hosts") or ["redis://localhost:6379"]
    urls = [url for url in dict.fromkeys(map(_url, hosts)) if url]
    return Store(urls, config) if urls else None


def _url(host: object) -> str:
    """Of a host as ``channels_redis`` takes it; empty for one that no URL names, such as a Sentinel."""
    if isinstance(host, dict):
        host = host.get("address", "")
    if isinstance(host, tuple | list) and len(host) == 2:
        host = f"redis://{host[0]}:{host[1]}"
    url = host if isinstance(host, str) else ""
    return f"redis+{url}" if url.startswith("unix:") else url
