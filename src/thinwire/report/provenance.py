"""Where and with what a result was made."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_GIT_SECONDS = 5.0


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def provenance() -> dict[str, object]:
    """Time, versions, machine and git commit of the working directory, as JSON takes them; unknown is None.

    Does not import torch. `git_dirty` says that tracked files differ from the commit.

    >>> made = provenance()
    >>> sorted(made)
    ['cores', 'cpu', 'git_commit', 'git_dirty', 'numpy', 'platform', 'python', 'thinwire', 'time', 'torch']
    """
    commit = _git("rev-parse", "--verify", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "thinwire": _version("thinwire"),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "git_commit": commit,
        "git_dirty": None if changed is None else bool(changed),
    }


def load() -> float:
    """The machine's load, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def busy(load: float) -> str:
    """A warning where other programs were already using the processors at the start of a measurement, else nothing.

    >>> busy(0.0)
    ''
    """
    cores = len(os.sched_getaffinity(0))
    if load <= 0.5 * cores:
        return ""
    return (
        f"Other programs were busy on this machine at the start (load {load:.1f} on {cores} processors): times are too "
        "long, most of all where much is computed."
    )
