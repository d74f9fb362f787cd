"""A few processes with a process group, kept for the whole session: each test sends them a function to run."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TIME_LIMIT = 120.0


def _serve(rank: int, size: int, port: int, pipe: Connection) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=size, timeout=timedelta(seconds=60))
    while (job := pipe.recv()) is not None:
        function, arguments = job
        try:
            torch.manual_seed(0)
            pipe.send((True, function(rank, size, *arguments)))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
    dist.destroy_process_group()


class Fleet:
    """`size` processes; `run` calls a module-level function(rank, size, …) in each and returns the results by rank."""

    def __init__(self, size: int) -> None:
        self.size = size
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        context = mp.get_context("spawn")
        self._pipes, self.processes = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, size, port, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self.processes.append(process)

    def start(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call the function in every process, and do not wait."""
        for pipe in self._pipes:
            pipe.send((function, arguments))

    def results(self, ranks: range | None = None) -> list[tuple[bool, Any]]:
        """(True, result) or (False, error text) of each of the ranks."""
        answers = []
        for rank in ranks or range(self.size):
            if not self._pipes[rank].poll(TIME_LIMIT):
                raise TimeoutError(f"rank {rank} of the fleet said nothing for {TIME_LIMIT} s")
            answers.append(self._pipes[rank].recv())
        return answers

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """The results by rank; an error in any process is an error here."""
        self.start(function, *arguments)
        answers = self.results()
        for rank, (good, answer) in enumerate(answers):
            assert good, f"rank {rank}: {answer}"
        return [answer for _, answer in answers]

    def close(self) -> None:
        """End all processes."""
        for pipe, process in zip(self._pipes, self.processes, strict=True):
            if process.is_alive():
                pipe.send(None)
        for process in self.processes:
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
