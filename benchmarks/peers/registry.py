"""Everything that is measured: ours in its variants, and what else there is."""

from benchmarks.peers import channels, native, node, python, rooms
from benchmarks.peers.peer import Peer, Server

__all__ = ["PEERS", "Peer", "Server"]

PEERS: dict[str, Peer] = {
    peer.name: peer for peer in (*rooms.PEERS, *channels.PEERS, *python.PEERS, *node.PEERS, *native.PEERS)
}
