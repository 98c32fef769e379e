"""Free TCP ports on loopback that stay free.

Taken below the range from which the kernel serves outgoing connections, so that no connection grabs a port while the
process that owns it is being restarted.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

from rlvr_trainer.errors import Unavailable

_LOWEST: Final = 15000
_USUAL_EPHEMERAL: Final = 32768
_TRIES: Final = 1000


def free_ports(count: int) -> tuple[int, ...]:
    """`count` different ports that nothing listens on now."""
    found: set[int] = set()
    for _ in range(_TRIES):
        if len(found) == count:
            return tuple(found)
        port = random.SystemRandom().randrange(_LOWEST, _first_ephemeral())
        if _is_free(port):
            found.add(port)
    raise Unavailable(f"no {count} free ports between {_LOWEST} and {_first_ephemeral()} after {_TRIES} tries.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _first_ephemeral() -> int:
    """The kernel's setting where it can be read and leaves room; 32768, Linux's default, elsewhere."""
    setting = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(setting.read_text().split()[0]) if setting.exists() else _USUAL_EPHEMERAL
    return first if first > _LOWEST + 1000 else _USUAL_EPHEMERAL
