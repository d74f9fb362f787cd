"""A wire that is not to be trusted: a proxy in every Gloo connection, which flips a bit or hangs up when told to.

Gloo publishes where each rank listens in its store, as a sockaddr among other bytes. The store that a rank sees here
gives it the address of a proxy in place of the other's.
"""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

HOST = socket.inet_aton("127.0.0.1")
FAMILY = int(socket.AF_INET).to_bytes(2, "little")


class Wire:
    """All connections between the ranks; a byte on its way from `sender` to `receiver` can be met with."""

    def __init__(self, store: dist.Store) -> None:
        self._store = store
        self._armed: dict[tuple[int, int], tuple[int, bool]] = {}
        self._lock = threading.Lock()
        self._cut_meet = threading.Barrier(1)

    @property
    def missed(self) -> bool:
        """Whether a byte that was to be met with has not come by."""
        return bool(self._armed)

    def seen_by(self, rank: int) -> dist.Store:
        """The store as this rank is to see it."""
        return _Store(self._store, rank, self)

    def flip(self, sender: int, receiver: int, after: int) -> None:
        """Change the byte that comes `after` so many others which are sent from now on."""
        self._armed[sender, receiver] = after, False

    def cut(self, sender: int, receiver: int, after: int, *, both: bool = False) -> None:
        """Close the connection in front of that byte; `both`: when it has come by in both directions."""
        self._armed[sender, receiver] = after, True
        self._cut_meet = threading.Barrier(1 + both, timeout=30)
        if both:
            self._armed[receiver, sender] = after, True

    def carry(self, sender: int, receiver: int, source: socket.socket, sink: socket.socket) -> None:
        """Forward one direction, until it ends."""
        with suppress(OSError):  # closed by whoever is at the other end
            while data := bytearray(source.recv(1 << 16)):
                with self._lock:
                    left, cut = self._armed.pop((sender, receiver), (None, False))
                    if left is not None and left >= len(data):
                        self._armed[sender, receiver] = left - len(data), cut
                        left = None
                if left is not None and cut:
                    sink.sendall(data[:left])
                    self._cut_meet.wait()
                    break
                if left is not None:
                    data[left] ^= 0x10
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class _Store(dist.Store):
    """A rank's view of a store; whatever it publishes is read on its way in, whatever it reads is rewritten."""

    def __init__(self, store: dist.Store, rank: int, wire: Wire) -> None:
        super().__init__()
        self._inner, self._rank, self._wire = store, rank, wire
        self._port = b""

    def set(self, key: str, value: str | bytes) -> None:
        at = _address(value) if isinstance(value, bytes) else None
        if at is not None:
            self._port = bytes(value[at : at + 2])
        self._inner.set(key, value)

    def get(self, key: str) -> bytes:
        value = self._inner.get(key)
        at = _address(value)
        if at is None:
            return value
        port, other = value[at : at + 2], int(key.rsplit("/", 1)[1])
        if _order(self._port) <= _order(port):  # the lower one listens: the other will come
            return value
        return value[:at] + self._proxy(port, other) + value[at + 2 :]

    def _proxy(self, port: bytes, other: int) -> bytes:
        """The port of a proxy to the rank that listens there."""
        door = _door(below=self._port)
        threading.Thread(target=self._serve, args=(door, int.from_bytes(port, "big"), other), daemon=True).start()
        return _port(door)

    def _serve(self, door: socket.socket, port: int, other: int) -> None:
        door.settimeout(30)
        with door:
            near, _ = door.accept()
        near.settimeout(None)
        far = socket.create_connection(("127.0.0.1", port))
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._wire.carry, args=(other, self._rank, far, near), daemon=True)
        back.start()
        self._wire.carry(self._rank, other, near, far)
        back.join()
        near.close()
        far.close()

    def add(self, key: str, value: int) -> int:
        return self._inner.add(key, value)

    def check(self, keys: list[str]) -> bool:
        return self._inner.check(keys)

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        self._inner.wait(keys, timeout) if timeout is not None else self._inner.wait(keys)

    def set_timeout(self, timeout: timedelta) -> None:
        self._inner.set_timeout(timeout)

    def has_extended_api(self) -> bool:
        return False


def _address(value: bytes) -> int | None:
    """Where in what a rank published its port stands: behind the family, in front of the host."""
    at = bytes(value).find(HOST)
    return at - 2 if at >= 4 and value[at - 4 : at - 2] == FAMILY else None


def _door(below: bytes) -> socket.socket:
    """A listening socket whose port comes before this one in Gloo's order, so that who has it still is to connect."""
    ports = [port for port in range(1024, 1 << 16) if _order(port.to_bytes(2, "big")) < _order(below)]
    random.shuffle(ports)
    for port in ports:
        with suppress(OSError):  # taken
            return socket.create_server(("127.0.0.1", port))
    raise AssertionError(f"no port is free below {below!r}")


def _port(door: socket.socket) -> bytes:
    return int(door.getsockname()[1]).to_bytes(2, "big")


def _order(port: bytes) -> int:
    """By what Gloo compares two ranks of one host, to decide who connects and who listens: the port's raw bytes."""
    return int.from_bytes(port, "little")
