"""The command `thinwire lab`."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from thinwire._check import fault
from thinwire.lab.hosts import Lab, LabUnavailable, Loopback
from thinwire.lab.rate import checked, format_rate
from thinwire.report.provenance import provenance

CONTEXT = {"allow_interspersed_args": False}  # what follows the program's name is the program's
COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_red")
NOT_MADE, TIMED_OUT, INTERRUPTED = 125, 124, 130


def prefixes(hosts: int, console: Console) -> list[str]:
    """'[rank 0] ' and so on, all of one width, in colour where the console shows colours."""
    width = len(str(hosts - 1))
    plain = [f"[rank {rank:>{width}}] " for rank in range(hosts)]
    if not console.is_terminal:
        return plain
    shown = []
    for rank, prefix in enumerate(plain):
        with console.capture() as capture:
            console.print(Text(prefix, style=COLOURS[rank % len(COLOURS)]), end="")
        shown.append(capture.get())
    return shown


def shell_code(code: int) -> int:
    """An exit code as shells count them: 128 + n for a process ended by signal n.

    >>> shell_code(3), shell_code(-9)
    (3, 137)
    """
    return code if code >= 0 else 128 - code


def summary(hosts: int, rate: str, seconds: float, codes: Sequence[int | None], sent: list[int] | None) -> str:
    """The last line of a run; '?' is a process that was ended before its code was known.

    >>> summary(2, "100mbit", 1.25, [0, -15], [1_500_000, 2_000])
    'lab: 2 hosts at 100mbit, 1.2 s, exit codes 0 -15, MB sent per host 1.500 0.002'
    """
    shown = " ".join("?" if code is None else str(code) for code in codes)
    text = f"lab: {hosts} hosts at {rate}, {seconds:.1f} s, exit codes {shown}"
    return text if sent is None else f"{text}, MB sent per host {' '.join(f'{n / 1e6:.3f}' for n in sent)}"


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run the way Ctrl-C does, in order; the handlers from before come back."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def lab(
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, the same on every host.")],
    hosts: Annotated[int, typer.Option(min=1, max=250, help="How many hosts; one process runs on each.")] = 4,
    rate: Annotated[
        str, typer.Option(help="Rate of every link, each way: 500kbit, 100mbit, 2.5gbit, or none (not shaped).")
    ] = "none",
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds the others get to end by themselves when one fails.")
    ] = 15.0,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds until all are ended. Default: no limit.")
    ] = None,
    loopback: Annotated[
        bool, typer.Option("--loopback", help="Plain processes over 127.0.0.1, where a lab cannot be made.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write arguments, seconds, exit codes, bytes, versions to this file.")
    ] = None,
) -> None:
    """Run a training script on several hosts with slow links, on this machine.

    Every host is a network namespace with an interface, an address and a
    name of its own, and every process gets the environment that torchrun
    would give it: what runs under torchrun runs here unchanged.

        thinwire lab --hosts 4 --rate 100mbit -- python train.py --epochs 1

    The lines of all ranks come out as one stream, each behind its rank.
    Needs iproute2 (ip, tc), and root or unprivileged user namespaces.
    Nothing stays behind, however it ends.

    Exit code: that of the rank that failed first (128 + n for signal n),
    0 if none did; 124 at the timeout, 125 where the lab cannot be made,
    130 at Ctrl-C.
    """
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    ended: dict[int, int] = {}  # in the order in which they end
    prefix = prefixes(hosts, Console())

    def on_line(rank: int, stream: str, line: str) -> None:
        sys.stdout.write(f"{prefix[rank]}{line}\n")
        sys.stdout.flush()

    sent: list[int] | None = None
    start: float | None = None
    seconds, outcome, result = 0.0, "done", 0
    try:
        bits = checked(hosts, rate)
        if loopback and bits is not None:
            raise ValueError(fault("lab --loopback", "loopback has no links to shape", rate, "Leave --rate out."))
        if json_file is not None and not json_file.absolute().parent.is_dir():
            raise ValueError(fault("lab --json", "the file's directory must exist", str(json_file)))
        with _terminable(), Loopback(hosts) if loopback else Lab(hosts, rate) as made:
            start = time.monotonic()
            try:
                made.run(command, on_line=on_line, timeout=timeout, grace=grace, on_exit=ended.__setitem__)
            finally:
                seconds = time.monotonic() - start
                sent = made.bytes_sent() if isinstance(made, Lab) else None
        result = next((shell_code(code) for code in ended.values() if code), 0)
    except TimeoutError as error:
        errors.print(str(error))
        outcome, result = "timeout", TIMED_OUT
    except (LabUnavailable, FileNotFoundError, ValueError, RuntimeError) as error:
        errors.print(str(error))
        raise typer.Exit(NOT_MADE) from error
    except KeyboardInterrupt:
        errors.print("lab: interrupted; all processes were ended.")
        outcome, result = "interrupted", INTERRUPTED
    codes = [ended.get(rank) for rank in range(hosts)]
    if start is not None:
        errors.print(summary(hosts, format_rate(bits), seconds, codes, sent))
    if json_file is not None and start is not None:
        record = {
            "command": command,
            "hosts": hosts,
            "rate_bits_per_second": bits,
            "loopback": loopback,
            "outcome": outcome,
            "seconds": seconds,
            "exit_codes": codes,
            "bytes_sent": sent,
            "provenance": provenance(),
        }
        json_file.write_text(json.dumps(record, indent=2) + "\n")
    raise typer.Exit(result)
