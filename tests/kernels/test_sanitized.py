"""The kernels' sources under the address and undefined-behaviour sanitizers: see driver.cpp.

Of the builds two are made, the baseline and the widest vectors of this processor, for compiling takes most of the time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tests.kernels.test_cpu import needs_library
from thinwire.kernels import cpu

pytestmark = needs_library
HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS += ["-fno-sanitize=null,object-size"]  # what the address sanitizer finds too, at a third of the compiler's time
BUILDS = ("baseline", "v3", "v4")


def compiler(folder: Path) -> list[str]:
    """The C++ compiler with the sanitizers, whose programs run here; or the test is skipped."""
    command = os.environ.get("CXX", "").split() or [next(filter(shutil.which, ("c++", "g++", "clang++")), "c++")]
    (folder / "try.cpp").write_text("int main() {}")
    try:
        for step in ([*command, *FLAGS, "try.cpp", "-o", "try"], ["./try"]):
            subprocess.run(step, cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C++ compiler with sanitizers: {error}")
    return command


def test_nothing_is_read_or_written_beyond_its_end(tmp_path: Path) -> None:
    command = compiler(tmp_path)
    jobs = {"driver": [str(HERE / "driver.cpp"), f"-DBEST={BUILDS[cpu.best()]}"]}
    jobs["geometry"] = [str(cpu.SOURCES / "geometry.cpp")]
    for level, name in product({0, cpu.best()}, ("encode", "decode")):
        options = [f"-DTHINWIRE_ISA={BUILDS[level]}", *([f"-march=x86-64-v{level + 2}"] if level else [])]
        jobs[f"{name}{level}"] = [str(cpu.SOURCES / f"{name}.cpp"), *options]

    def run(step: list[str]) -> str:
        done = subprocess.run(step, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    compile_one = [*command, *FLAGS, f"-I{cpu.SOURCES}", "-c"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda name: run([*compile_one, *jobs[name], "-o", f"{name}.o"]), jobs))
    run([*command, *FLAGS, *(f"{name}.o" for name in jobs), "-o", "driver"])
    assert int(run(["./driver"]).split()[0]) > 1000
