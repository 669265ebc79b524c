"""Free TCP ports on loopback."""

import random
import socket
from collections import deque
from pathlib import Path

_LOWEST_PORT = 10240
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: deque[int] = deque(maxlen=500)  # a server binds its port after it was chosen: none is given twice meanwhile


def free_ports(count: int) -> list[int]:
    """Return `count` different ports of 127.0.0.1 that nothing listens on.

    They are below the kernel's ephemeral range, so no outgoing connection takes one before the server binds it, and
    random, so two stacks starting at once hardly ever collide.
    """
    ephemeral_start = int(_EPHEMERAL_RANGE.read_text().split()[0])
    candidates = random.sample(range(_LOWEST_PORT, max(ephemeral_start, _LOWEST_PORT + 10_000)), 50 * count)
    free: list[int] = []
    for port in candidates:
        if port not in _given and _is_free(port):
            _given.append(port)
            free.append(port)
        if len(free) == count:
            return free
    raise OSError(f"found only {len(free)} of {count} free ports on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
