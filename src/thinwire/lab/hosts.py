"""Lab and Loopback: several hosts on one machine, with slow links and without."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from thinwire._check import call, fault
from thinwire.lab import network
from thinwire.lab.holder import Holder, HolderFailed
from thinwire.lab.launch import OnExit, OnLine, Run, environment, torchrun_env
from thinwire.lab.rate import checked

FIRST_PORT = 29500
PORTS = 1000  # below the range the kernel hands out by itself


class LabUnavailable(RuntimeError):
    """A lab cannot be made here; the message says what is missing and what to do."""


class _Hosts:
    """What both kinds have in common: a holder process, and runs in it, one at a time."""

    _holder: Holder | None = None
    _busy = False

    def __init__(self, shown: str, hosts: int, interface: str) -> None:
        self.hosts, self.interface, self._shown = hosts, interface, shown

    def _start(self) -> Holder:
        raise AssertionError("abstract")

    def _meeting_point(self) -> tuple[str, int]:
        raise AssertionError("abstract")

    def __enter__(self) -> Self:
        if self._holder is not None:
            raise RuntimeError(fault(self._shown, "it is already open", way_out="Make one per `with`."))
        self._holder = self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.close()

    def _open(self) -> Holder:
        if self._holder is None:
            name = self._shown.partition("(")[0].lower()
            raise RuntimeError(fault(self._shown, "it is not open", way_out=f"Write `with {self._shown} as {name}:`."))
        return self._holder

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
        timeout: float | None = 600.0,
        grace: float = 15.0,
        cwd: str | os.PathLike[str] | None = None,
        on_exit: OnExit | None = None,
    ) -> list[int]:
        """Run one process per host and give their exit codes by rank (negative: ended by that signal).

        Args:
            command: the program and its arguments, the same on every host; it finds its rank in the environment that
                torchrun would give it (RANK, WORLD_SIZE, MASTER_ADDR, …).
            env: variables over the caller's environment and over torchrun's. OMP_NUM_THREADS is 1 unless set.
            on_line: called here with (rank, "stdout" or "stderr", line). None: the processes write to the caller's
                own stdout and stderr.
            timeout: seconds until all are ended; None: no limit.
            grace: seconds that the others get to end by themselves when one fails; then SIGTERM, 5 s later SIGKILL.
            cwd: the directory to run in; None: the caller's.
            on_exit: called here with (rank, exit code), in the order in which they end.

        Raises:
            TimeoutError: the time was over; names the ranks that were still running.
            FileNotFoundError: there is no such program.
        """
        holder = self._open()
        if not command or shutil.which(command[0]) is None:
            given = command[0] if command else ""
            raise FileNotFoundError(fault(f"{self._shown}.run", "the first word must be a program on PATH", given))
        if self._busy:
            raise RuntimeError(fault(f"{self._shown}.run", "one run at a time", way_out="Open a second one."))
        address, port = self._meeting_point()
        envs = [
            environment(torchrun_env(rank, self.hosts, address, port, self.interface), env)
            for rank in range(self.hosts)
        ]
        self._busy = True
        try:
            return Run(holder, command, envs, os.fspath(cwd or os.getcwd()), on_line, on_exit)(timeout, grace)
        finally:
            self._busy = False


class Lab(_Hosts):
    """`hosts` hosts on one Linux machine, each with a network of its own, joined by links of `rate`.

    Every host is a network and UTS namespace (`host0`, `host1`, …) with a loopback, an interface `eth0`, and names for
    all others; both directions of every link are shaped by token buckets. Runs as root, or as any user where
    unprivileged user namespaces are allowed; the programs then see themselves as uid 0 and still have only the
    rights of their user. Everything lives in one process that ends with this one, however this one ends.
    There is no way out of the lab: no internet, no other machine.

    Args:
        hosts: 1 to 250.
        rate: of every link, each way, such as "100mbit" or "2.5gbit"; None or "none": not shaped.

    Raises:
        ValueError: a wrong argument.
        LabUnavailable: on entering, where the machine does not allow it.

    >>> with Lab(hosts=2, rate="100mbit") as lab:  # doctest: +SKIP
    ...     codes = lab.run([sys.executable, "train.py"], on_line=lambda rank, stream, line: print(rank, line))
    ...     sent = lab.bytes_sent()
    """

    def __init__(self, hosts: int, rate: str | None = None) -> None:
        self.rate = checked(hosts, rate)
        self._runs = 0
        super().__init__(call("Lab", hosts=hosts, rate=rate), hosts, network.INTERFACE)

    def _unavailable(self, lack: str, way_out: str) -> LabUnavailable:
        alternative = f"Loopback(hosts={self.hosts}) runs without links to shape."
        return LabUnavailable(fault(self._shown, lack, way_out=f"{way_out} {alternative}"))

    def _start(self) -> Holder:
        if not sys.platform.startswith("linux"):
            raise self._unavailable(f"network namespaces exist on Linux only, this is {sys.platform}", "Use Linux.")
        tools = {"ip": network.find_tool("ip"), "tc": network.find_tool("tc") if self.rate is not None else "tc"}
        for name, path in tools.items():
            if path is None:
                raise self._unavailable(
                    f"the command `{name}` is not on PATH, nor in {', '.join(network.SYSTEM_DIRS)}",
                    "Install iproute2 (apt install iproute2, dnf install iproute iproute-tc).",
                )
        try:
            return Holder(network.config(self.hosts, self.rate, tools["ip"] or "", tools["tc"] or ""))
        except HolderFailed as failed:
            raise self._unavailable(*network.diagnose(*failed.args)) from failed

    def _meeting_point(self) -> tuple[str, int]:
        self._runs += 1  # another port each time: the last run's connections may linger
        return network.address(0), FIRST_PORT + self._runs % PORTS

    def bytes_sent(self) -> list[int]:
        """Bytes that each host has sent over its link so far, by rank: frames, with all headers, as the wire sees them.

        May be called during a run, from any thread.
        """
        sent = []
        for counter in self._open().counters:
            lines = os.pread(counter, 1 << 16, 0).decode().splitlines()
            fields = next(line.partition(":")[2].split() for line in lines if line.strip().startswith(self.interface))
            sent.append(int(fields[8]))
        return sent


class Loopback(_Hosts):
    """Plain processes that talk over 127.0.0.1: the same `run` as `Lab`, for machines that do not allow one.

    Nothing is shaped and nothing is counted (there is no `bytes_sent`: all ranks share one interface).

    >>> with Loopback(hosts=2) as loopback:
    ...     loopback.run(["sh", "-c", "exit $RANK"])
    [0, 1]
    """

    def __init__(self, hosts: int) -> None:
        checked(hosts, None, "Loopback")
        super().__init__(call("Loopback", hosts=hosts), hosts, "lo")

    def _start(self) -> Holder:
        return Holder({"hosts": []})

    def _meeting_point(self) -> tuple[str, int]:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        return "127.0.0.1", port
