"""Ports for servers of our own."""

from __future__ import annotations

import random
import socket

# Below the range from which systems take the ports of outgoing connections, so that a port stays free
# while its server is down for a restart.
_CANDIDATES = range(20_000, 32_000)


def free_port() -> int:
    """A port on the loopback that nobody listens on at this moment."""
    for port in random.sample(_CANDIDATES, k=200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {_CANDIDATES.start} and {_CANDIDATES.stop}")
