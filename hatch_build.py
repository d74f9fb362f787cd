"""The build step: compile the CPU kernels into one library inside the package. `pip install` runs it, `-e` too.

Without a C++ compiler, or where it fails, the package is built without the library, and plain torch does its work.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("src/thinwire/kernels")
LIBRARY = f"libthinwire{'.dylib' if sys.platform == 'darwin' else '.so'}"

# -ffp-contract=off: a fused multiply-add would round once where the format rounds twice
FLAGS = [
    *("-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
    *("-fno-exceptions", "-fno-rtti", "-fPIC", "-fvisibility=hidden", "-w"),
]
THREADS = ["-fopenmp"]
ONCE = ("entry", "sparse_entry", "memory", "geometry")
MAKES: dict[str, list[str]] = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    MAKES = {
        "baseline": ["-march=x86-64"],
        "v3": ["-march=x86-64-v3"],
        "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }


def compiler() -> list[str] | None:
    """The C++ compiler: CXX if it is set, or the first that is there."""
    wanted = os.environ.get("CXX", "").split()
    for command in [wanted] if wanted else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    return None


def digest(sources: Path) -> str:
    """The same as thinwire.kernels.cpu.digest: the library is refused where it does not match."""
    parts = sorted(path for path in sources.iterdir() if path.suffix in (".h", ".cpp"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()[:16]


def build(command: list[str], sources: Path, to: Path) -> None:
    """The library, with threads where the compiler has OpenMP, put in place only when it is whole."""
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".making-") as folder:
        try:
            _link([*command, *THREADS], sources, Path(folder))
        except RuntimeError:
            _link(command, sources, Path(folder))
        os.replace(f"{folder}/{LIBRARY}", to)


def _link(command: list[str], sources: Path, folder: Path) -> None:
    """Every source but those of `ONCE` is compiled for each instruction set, which BUILT puts into its names."""
    jobs = {name: [str(sources / f"{name}.cpp"), f'-DTHINWIRE_SOURCES="{digest(sources)}"'] for name in ONCE}
    for (name, options), path in product(MAKES.items(), sorted(sources.glob("*.cpp"))):
        if path.stem not in ONCE:
            jobs[f"{path.stem}-{name}"] = [str(path), f"-DTHINWIRE_ISA={name}", *options]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = (
            pool.submit(_run, [*command, *FLAGS, "-c", *job, "-o", f"{folder / name}.o"]) for name, job in jobs.items()
        )
        for done in list(compiled):
            done.result()
    _run([*command, "-shared", *(f"{folder / name}.o" for name in jobs), "-o", str(folder / LIBRARY)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")


class Kernels(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's hook: the wheel is for this platform if it has the library, for any if not."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        package = Path(self.root) / PACKAGE
        library = package / LIBRARY
        library.unlink(missing_ok=True)
        command = compiler()
        if command is None:
            self.app.display_warning("No C++ compiler (c++, g++, clang++): thinwire is installed without its kernels.")
            return
        try:
            build(command, package / "native", library)
        except (RuntimeError, OSError) as error:
            self.app.display_warning(f"The kernels could not be compiled, thinwire is installed without:\n{error}")
            return
        build_data["artifacts"].append(f"/{PACKAGE / LIBRARY}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
