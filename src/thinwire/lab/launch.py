"""One run of a command on every host: environment, log lines, deadlines, exit codes."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from thinwire._check import fault
from thinwire.lab.holder import Holder

OnLine = Callable[[int, str, str], None]
OnExit = Callable[[int, int], None]
TERM_SECONDS = 5.0  # from SIGTERM to SIGKILL
INTERRUPT_SECONDS = 2.0  # the same, where the caller was interrupted
DRAIN_SECONDS = 5.0
LONGEST_LINE = 1 << 16
_STREAMS = ("stdout", "stderr")


def torchrun_env(rank: int, world_size: int, address: str, port: int, interface: str) -> dict[str, str]:
    """The variables torchrun would set for this rank, one process per host, and the interface to talk over.

    >>> env = torchrun_env(2, 4, "10.77.0.1", 29500, "eth0")
    >>> env["RANK"], env["LOCAL_RANK"], env["GLOO_SOCKET_IFNAME"]
    ('2', '0', 'eth0')
    """
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "GROUP_RANK": str(rank),
        "GROUP_WORLD_SIZE": str(world_size),
        "ROLE_NAME": "default",
        "ROLE_RANK": str(rank),
        "ROLE_WORLD_SIZE": str(world_size),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "thinwire-lab",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
        "TP_SOCKET_IFNAME": interface,
        "PYTHONUNBUFFERED": "1",
        "THINWIRE_LAB": "1",
    }


def environment(own: Mapping[str, str], extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment, with the rank's own variables over it and what the user asked for over both."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("TORCHELASTIC_")}
    base.setdefault("OMP_NUM_THREADS", "1")
    return {**base, **own, **(extra or {})}


class Lines:
    """Bytes as they come, lines as they end.

    >>> lines = Lines()
    >>> lines.feed(b"one\\ntw"), lines.feed(b"o\\r\\n"), lines.feed(b"rest"), lines.rest()
    (['one'], ['two'], [], ['rest'])
    """

    def __init__(self) -> None:
        self._open = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that this data completes."""
        *done, self._open = (self._open + data).split(b"\n")
        if len(self._open) > LONGEST_LINE:
            done, self._open = [*done, self._open], b""
        return [line.rstrip(b"\r").decode(errors="replace") for line in done]

    def rest(self) -> list[str]:
        """The line that was begun and never ended, if any."""
        line, self._open = self._open, b""
        return [line.decode(errors="replace")] if line else []


@dataclass
class Run:
    """One command on every host, from start to the last exit code. Used once; `Lab.run` makes and drives it."""

    holder: Holder
    command: Sequence[str]
    envs: Sequence[Mapping[str, str]]
    cwd: str
    on_line: OnLine | None = None
    on_exit: OnExit | None = None
    codes: dict[int, int] = field(default_factory=dict)
    _pipes: dict[int, tuple[int, str, Lines]] = field(default_factory=dict)

    def __call__(self, timeout: float | None, grace: float) -> list[int]:
        """Start, wait, end. Numbered, because what happens when something fails is the point:

        1. All ranks start.
        2. When the first one fails, the others get `grace` seconds to end by themselves.
        3. Then, or at `timeout`, those still running get SIGTERM, and `TERM_SECONDS` later SIGKILL.
        4. When all have ended, or on any exception here, whatever they left behind is killed.
        """
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(self.holder.sock, selectors.EVENT_READ)
                for rank in range(len(self.envs)):
                    self._spawn(rank, selector)
                late = self._wait(selector, timeout, grace)
            except BaseException:
                self.on_line = self.on_exit = None
                self._signal(signal.SIGTERM)
                self._pump(selector, time.monotonic() + INTERRUPT_SECONDS)
                raise
            finally:
                self._sweep(selector)
        if late:
            raise TimeoutError(
                fault(
                    f"run(timeout={timeout})",
                    f"the time is over and {_ranks(late)} still ran; all were ended",
                    way_out="Give more time, or look at the last lines of these ranks for what they wait for.",
                )
            )
        return [self.codes[rank] for rank in range(len(self.envs))]

    def _spawn(self, rank: int, selector: selectors.BaseSelector) -> None:
        ends = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)]
        try:
            for number, stream in enumerate(_STREAMS, start=1):
                if self.on_line is None:
                    ends.append(os.dup(number))
                    continue
                reading, writing = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(reading, False)
                self._pipes[reading] = (rank, stream, Lines())
                selector.register(reading, selectors.EVENT_READ)
                ends.append(writing)
            message = {"do": "spawn", "rank": rank, "command": list(self.command), "cwd": self.cwd}
            self.holder.send({**message, "env": dict(self.envs[rank])}, ends)
        finally:
            for fd in ends:
                os.close(fd)

    @property
    def _running(self) -> list[int]:
        return [rank for rank in range(len(self.envs)) if rank not in self.codes]

    def _wait(self, selector: selectors.BaseSelector, timeout: float | None, grace: float) -> list[int]:
        """Until all have ended. Gives the ranks that were still running at the timeout."""
        start = time.monotonic()
        over = None if timeout is None else start + timeout
        failed_by: float | None = None  # when the grace time of a failure ends
        while self._running:
            if failed_by is None and any(self.codes.values()):
                failed_by = time.monotonic() + grace
            deadline = min((end for end in (over, failed_by) if end is not None), default=None)
            if deadline is not None and time.monotonic() >= deadline:
                late = self._running if deadline == over else []
                for number in (signal.SIGTERM, signal.SIGKILL):
                    self._signal(number)
                    self._pump(selector, time.monotonic() + TERM_SECONDS)
                return late
            self._turn(selector, deadline)
        return []

    def _pump(self, selector: selectors.BaseSelector, deadline: float) -> None:
        while self._running and time.monotonic() < deadline:
            self._turn(selector, deadline)

    def _turn(self, selector: selectors.BaseSelector, deadline: float | None) -> bool:
        """Wait for events once and act on them; True when the holder said that all is swept."""
        swept = False
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        for key, _ in selector.select(left):
            if isinstance(key.fd, int) and key.fd in self._pipes:
                self._read(key.fd, selector)
                continue
            message = self.holder.receive()
            if message is None:
                selector.unregister(key.fileobj)
                raise RuntimeError("the process that holds the lab has ended; was it killed? Make a new Lab.")
            swept |= "swept" in message
            if "exit" in message:
                self.codes[message["exit"]] = message["code"]
                if self.on_exit is not None:
                    self.on_exit(message["exit"], message["code"])
        return swept

    def _read(self, fd: int, selector: selectors.BaseSelector) -> None:
        rank, stream, lines = self._pipes[fd]
        data = os.read(fd, 1 << 16)
        if not data:
            selector.unregister(fd)
            del self._pipes[fd]
            os.close(fd)
        if self.on_line is not None:
            for line in lines.feed(data) if data else lines.rest():
                self.on_line(rank, stream, line)

    def _signal(self, number: signal.Signals) -> None:
        try:
            self.holder.send({"do": "signal", "ranks": self._running, "number": int(number)})
        except OSError:  # the holder has ended, and its programs with it
            self.codes.update(dict.fromkeys(self._running, -int(signal.SIGKILL)))

    def _sweep(self, selector: selectors.BaseSelector) -> None:
        """Kill what is left, read the pipes to their end, close them."""
        try:
            self.holder.send({"do": "sweep"})
            deadline = time.monotonic() + DRAIN_SECONDS
            swept = False
            while (self._pipes or not swept) and time.monotonic() < deadline:
                swept |= self._turn(selector, deadline)
        except (OSError, RuntimeError):  # the holder has ended, and its programs with it
            pass
        finally:
            self.codes.update(dict.fromkeys(self._running, -int(signal.SIGKILL)))
            for fd in self._pipes:
                os.close(fd)
            self._pipes.clear()


def _ranks(ranks: Sequence[int]) -> str:
    """'rank 2', 'ranks 0, 3'.

    >>> _ranks([2]), _ranks([0, 3])
    ('rank 2', 'ranks 0, 3')
    """
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
