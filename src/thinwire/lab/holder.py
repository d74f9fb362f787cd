"""The owner's side of the holder process: start it, talk to it, end it (`_holder.py` is the other side)."""

from __future__ import annotations

import array
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("_holder.py")
START_SECONDS, CLOSE_SECONDS = 60.0, 15.0
_MAX_FDS = 253  # the kernel's limit for one message


class HolderFailed(Exception):
    """The holder could not be set up: (stage, what was said)."""


class Holder:
    """A running holder process and the socket to it; `config` is what `_holder.py` builds (no hosts: no namespaces)."""

    def __init__(self, config: dict[str, object]) -> None:
        self.sock, theirs = socket.socketpair()
        self.counters: list[int] = []
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-E", "-s", "-S", str(_SCRIPT), str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C at the terminal is the owner's to handle
                cwd="/",
            )
        try:
            self.send(config)
            self.sock.settimeout(START_SECONDS)
            answer = self.receive()
            self.sock.settimeout(None)
        except OSError as error:
            answer = {"failed": "holder", "error": str(error)}
        except BaseException:
            self.close()
            raise
        if answer is None or "failed" in answer:
            said = self.close()
            if answer is None:
                raise HolderFailed("holder", said.strip().rpartition("\n")[2] or "it ended at once")
            raise HolderFailed(answer["failed"], answer["error"])

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send one message, with descriptors."""
        body = json.dumps(message).encode()
        socket.send_fds(self.sock, [struct.pack("!I", len(body))], fds)
        self.sock.sendall(body)

    def receive(self) -> dict[str, Any] | None:
        """The next message, None where the holder has gone. Counter files that come with it are kept."""
        fds = array.array("i")
        try:
            head, ancillary, _, _ = self.sock.recvmsg(
                4, socket.CMSG_SPACE(_MAX_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return None
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        self.counters.extend(fds)
        if len(head) < 4:
            return None
        body = self.sock.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL)
        message: dict[str, Any] = json.loads(body)
        return message

    def close(self) -> str:
        """End everything inside and wait until it is gone; gives what the holder wrote to stderr. Safe to repeat."""
        for fd in self.counters:
            os.close(fd)
        self.counters.clear()
        with suppress(OSError):  # closed before, or the holder has gone
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except BaseException:
            self._process.kill()  # its inner process dies with it
            self._process.wait()
            raise
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            return "" if stderr.closed else stderr.read().decode(errors="replace")
