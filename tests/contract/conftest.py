"""One suite for every transport, on every server, channel layer and database.

A *cell* is a running site: a server and a channel layer, on the database of the chosen backend. All transports run in
each cell. Where the layer allows it the cell has two nodes, and REST writes go to the one that readers are not on.
``--matrix`` has every cell; else daphne, which is for development, is asked on SQLite alone, and only what a server has
a part in: bytes, handshakes, endings, the order of what is written. Who may what, limits and replays are the node's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

from tests.support.backends import BACKEND
from tests.support.cells import HASTY, ROOMS, Cell, Links
from tests.support.live_clients import TRANSPORTS, LiveClient
from tests.support.sites import Node, Sites

SERVERS = {"embedded": ("uvicorn", "daphne"), "servers": ("uvicorn",)}  # that a backend is used with
NODE = ("commands", "host_policy", "join", "limits", "nodes", "policies", "resume")  # no server has a part in these
LAYERS = {"embedded": "memory", "servers": "valkey"}  # the layer that a backend is used with
DATABASES = {"embedded": "SQLite", "servers": "PostgreSQL"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        backend = metafunc.config.stash[BACKEND].name
        layers, servers = [LAYERS[backend]], SERVERS[backend]
        if metafunc.definition.path.stem.removeprefix("test_") in NODE:
            servers = ("uvicorn",)
        if metafunc.config.getoption("matrix"):
            layers, servers = sorted(LAYERS.values()), SERVERS["embedded"]
        cells = [(server, layer) for layer in layers for server in servers]
        ids = [f"{server}-{layer}-{DATABASES[backend]}" for server, layer in cells]
        metafunc.parametrize("cell", cells, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def cell(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Cell]:
    server, layer = request.param
    nodes = 2 if layer == "valkey" else 1
    with (
        sites.running(
            server=server, layer=layer, nodes=nodes, demo=True, rooms=ROOMS, env={"ROOMS_LIMITS": "off"}
        ) as site,
        ExitStack() as stack,
    ):
        yield Cell(site, server, layer, stack, rooms_made=400)


@pytest.fixture(scope="session")
def hasty(cell: Cell, sites: Sites) -> Iterator[Cell]:
    """One node of the same kind whose patience is short, and where nobody reads without a login."""
    with (
        sites.running(
            server=cell.server, layer=cell.layer, demo=True, rooms=HASTY, env={"ROOMS_LIMITS": "off"}
        ) as site,
        ExitStack() as stack,
    ):
        yield Cell(site, cell.server, cell.layer, stack, rooms_made=20)


@pytest.fixture
def other_node(cell: Cell) -> Node:
    """A node beside the one that readers are on."""
    if len(cell.site.nodes) == 1:
        pytest.skip("the in-memory layer reaches one process")
    return cell.site.nodes[1]


@pytest.fixture
def room(cell: Cell) -> str:
    return cell.room()


@pytest.fixture(params=TRANSPORTS, ids=lambda kind: kind.transport)
def kind(request: pytest.FixtureRequest) -> type[LiveClient]:
    """The transport."""
    found: type[LiveClient] = request.param
    return found


@pytest.fixture
async def links(cell: Cell, kind: type[LiveClient]) -> AsyncIterator[Links]:
    """Connections by the transport; a file about one transport has a ``kind`` of its own."""
    async with AsyncExitStack() as stack:
        yield Links(cell, kind, stack)
