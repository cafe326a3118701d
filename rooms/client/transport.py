"""What carries a conversation. Nothing above this asks which transport it is."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass

from rooms.client.bell import Bell
from rooms.client.conversation import Conversation
from rooms.client.errors import Broken, LiveError
from rooms.client.frames import JSON, Format, Frame
from rooms.client.identity import Address, Identity
from rooms.client.retry import LOST, UNAUTHENTICATED, End

logger = logging.getLogger(__name__)

OPEN_WITHIN = 10.0  # seconds for a connection, and for live.hello after that


@dataclass(frozen=True, slots=True)
class Options:
    """:ivar poll_wait: seconds that a long-poll waits at the server; it allows 25.
    :ivar trust_env: use the proxies that the environment names.
    """

    format: Format = JSON
    ssl: ssl.SSLContext | None = None
    trust_env: bool = True
    poll_wait: float = 20.0


class Transport(ABC):
    """Opens one connection at a time.

    Whoever changes what is to be said, or takes what was heard, rings the bell.
    """

    def __init__(
        self, address: Address, identity: Identity, conversation: Conversation, bell: Bell, options: Options
    ) -> None:
        self.address = address
        self.identity = identity
        self.conversation = conversation
        self.bell = bell
        self.options = options
        self.violations = 0

    async def carry(self) -> End:
        """One connection from its opening to its end, whose reason this gives. When it returns, nothing is open."""
        self.conversation.begin()
        try:
            await self.identity.renew()
        except LiveError as error:
            return End(LOST if error.temporary else UNAUTHENTICATED, str(error), error.retry_after)
        try:
            return await self._carry()
        except Broken as broken:
            self.violations += 1
            logger.warning("the server broke a rule of the protocol: %s", broken)
            return End(LOST, f"the server broke a rule: {broken}", broken=True)

    @abstractmethod
    async def _carry(self) -> End:
        """:raises Broken:"""

    async def close(self) -> None:  # noqa: B027 most keep nothing open between connections
        """Nothing is carried any more."""

    # --- within

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def hear(self, frame: Frame) -> End | None:
        """:raises Broken:"""
        try:
            return self.conversation.hear(frame, self.now(), random.random())  # noqa: S311 no secret
        finally:
            self.bell.ring()
