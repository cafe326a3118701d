"""What a stream and a poll have in common because both are a GET: what is refused is a status, before anything else."""

from __future__ import annotations

import httpx
import pytest

from tests.support.cells import MAX_ROOMS, Cell, Links
from tests.support.live_clients import Caller, LiveClient, Poll, Stream, TurnedAway

PATHS: dict[type[LiveClient], str] = {Stream: "/live/stream", Poll: "/live/poll"}


@pytest.fixture(params=PATHS, ids=lambda kind: kind.transport)
def kind(request: pytest.FixtureRequest) -> type[LiveClient]:
    found: type[LiveClient] = request.param
    return found


async def test_what_is_refused_as_a_whole_is_a_status(links: Links, cell: Cell, hasty: Cell) -> None:
    for caller, node, status, code in [
        (Caller(), hasty.near, 401, "unauthenticated"),
        (Caller(ticket="nonsense"), cell.near, 401, "unauthenticated"),
        (cell.caller("bob", Sec_Fetch_Site="cross-site"), cell.near, 403, "forbidden"),
        (cell.caller("bob", Sec_Fetch_Site="same-site"), cell.near, 403, "forbidden"),
    ]:
        with pytest.raises(TurnedAway) as refused:
            await links.open(caller, {"acme/general": None}, on=node)
        assert (refused.value.status, refused.value.code) == (status, code)


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_a_page_of_our_own_is_let_in(links: Links, cell: Cell, site: str) -> None:
    client = await links.open(cell.caller("bob", Sec_Fetch_Site=site))
    assert client.hello["user"]["id"] == cell.user("bob")


async def test_more_rooms_than_a_connection_may_join(links: Links, cell: Cell) -> None:
    with pytest.raises(TurnedAway) as refused:
        await links.open("bob", {f"acme/r{number}": None for number in range(MAX_ROOMS + 1)})
    assert (refused.value.status, refused.value.code) == (429, "too_many_rooms")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_another_method_is_405(cell: Cell, kind: type[LiveClient], method: str) -> None:
    bob = cell.caller("bob")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.request(method, cell.near.url + PATHS[kind], headers=bob.writing(cell.near.url))
    assert answer.status_code == 405
    assert answer.headers["Allow"]
