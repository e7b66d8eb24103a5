"""Ports for what a test starts in a process of its own."""

import random
import socket

RANGE = range(20_000, 32_768)
"""Below the ports that Linux and macOS give to whoever asks for any: a test beside this one is not given it meanwhile."""

_CHANCE = random.SystemRandom()  # the seed of `random` is set anew for every test, to the same in each process


def free_port() -> int:
    """Of loopback; nobody else is likely to take it before the process listens."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", _CHANCE.choice(RANGE)))
            except OSError:
                continue
            return int(probe.getsockname()[1])
