"""The codes on a GPU, where there is one; elsewhere in Triton's interpreter, and compiled for a GPU that is not there.

Triton decides when it is imported whether it interprets, so `triton_cases.py` runs in a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.kernels.test_cpu import data, named, stream
from thinwire.kernels import cuda
from thinwire.kernels.format import Format, Kind

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("triton_cases.py")
triton = pytest.importorskip("triton", reason="Triton is not installed", exc_type=ImportError)

FUSED = r"\b(?:fma|mad)\.\S*f(?:32|64)"
INEXACT = r"\b(?:div\.(?:full|approx)|sqrt\.approx|rsqrt|rcp|ex2|lg2)\S*|\S+\.ftz\S*"
COMPILED = [
    Format(Kind.ROTATED, 3, 1024),
    Format(Kind.DITHER, 4, 1024, 7, euclidean=True),
    Format(Kind.DITHER, 0, 1280, 1),
    Format(Kind.NATURAL_DITHER, 4, 1024, 7),
    Format(Kind.SIGN, 1, 1024),
    Format(Kind.NATURAL, 9, 1024),
]


@pytest.mark.timeout(900)  # the interpreter takes 40 seconds of one processor, which may have other work
@pytest.mark.parametrize("where", ["interpreter", "GPU"])
def test_the_kernels_give_the_references_bits(where: str) -> None:
    if where == "GPU" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    env = os.environ | {"TRITON_INTERPRET": str(int(where == "interpreter")), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider", str(CASES)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


class Idle:
    """A driver for a GPU that is not there: what is launched is compiled, down to machine code, and not run."""

    def __init__(self, arch: int) -> None:
        self.arch = arch
        properties = {"max_shared_mem": 100 << 10}
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: properties, load_binary=lambda *_: (None, None, 0, 0, 1024)
        )

    def get_current_target(self) -> Any:
        return triton.backends.compiler.GPUTarget("cuda", self.arch, 32)

    def get_current_device(self) -> int:
        return self.arch  # what is compiled is kept by device

    def get_current_stream(self, device: int) -> int:
        return 0

    def launcher_cls(self, source: object, metadata: object) -> Any:
        return lambda *_: None


@pytest.fixture(params=[80, 90])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A function that gives the PTX of the kernel of this name, of all its builds, as launched by the test."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("Triton interprets in this process")
    from thinwire.kernels.cuda.device import blocks

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton.runtime.driver, "_active", Idle(request.param))
    kernels = {name: getattr(blocks, name) for name in ("encode", "blank", "decode", "decode_mean")}
    for kernel in kernels.values():
        kernel.device_caches.pop(request.param, None)
    yield lambda name: [kernel.asm["ptx"] for kernel in kernels[name].device_caches[request.param][0].values()]
    for kernel in kernels.values():
        kernel.device_caches.pop(request.param, None)


@pytest.mark.parametrize("fmt", COMPILED, ids=named)
def test_what_is_compiled_rounds_every_operation_by_itself(fmt: Format, compiled: Any) -> None:
    """No fused multiply-add, no approximate division or root, no flush of what is subnormal to zero."""
    from thinwire.kernels.cuda import launch

    d, keys = 5000, stream(2)
    x = data("gauss", 2, d)
    for dtype in (torch.float32, torch.float64) if fmt.kind is Kind.DITHER else (torch.float32,):
        sent, _ = launch.encode_difference(fmt, x.to(dtype), x.to(dtype), 0.3, keys)
        launch.decode_mean(fmt, sent, d, keys, 2, dtype, x[:1].to(dtype))
    if fmt.kind is Kind.SIGN:
        launch.decode(fmt, launch.encode(fmt, x, keys), d, keys)
    names = ["encode", "blank", "decode_mean", *["decode"][: fmt.kind is Kind.SIGN]]
    for name in names:
        for ptx in compiled(name):
            assert ".entry" in ptx
            assert not re.findall(FUSED, ptx)
            assert not re.findall(INEXACT, ptx)
    coding = " ".join(compiled("encode"))
    if fmt.scaled:
        assert "div.rn.f32" in coding
    if fmt.euclidean or fmt.kind is Kind.ROTATED:
        assert "sqrt.rn.f32" in coding


def test_what_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    fmt, x, keys = COMPILED[0], data("gauss", 2, 300), stream(2)
    assert not cuda.takes(fmt, x, 300, keys)  # it is not on a GPU
    monkeypatch.setattr(cuda, "DEVICE", "cpu")
    assert cuda.takes(fmt, x, 300, keys)
    assert cuda.takes(fmt, x.double(), 300, keys)
    assert cuda.takes(fmt, torch.empty(2, fmt.nbytes(300), dtype=torch.uint8), 300, keys)
    assert cuda.takes(Format(Kind.SIGN, 1, 4096), data("gauss", 2, 9000), 9000, keys)
    assert cuda.takes(Format(Kind.SIGN, 1, 65536), x, 300, keys)
    assert not cuda.takes(Format(Kind.SIGN, 1, 8192), data("gauss", 2, 9000), 9000, keys)  # more than registers hold
    assert not cuda.takes(Format(Kind.ROTATED, 2, 64), x, 300, keys)
    assert not cuda.takes(fmt, x.half(), 300, keys)
    assert not cuda.takes(fmt, x[:1], 300, keys)
    assert not cuda.takes(fmt, x[:, :0], 0, keys)
    assert not cuda.takes(fmt, x[:0], 300, keys[:0])
    assert cuda.matches(None, 2, 300, torch.float32)
    assert cuda.matches(x, 2, 300, torch.float32)
    assert not cuda.matches(x, 2, 300, torch.float64)
    assert not cuda.matches(x, 1, 300, torch.float32)


def test_without_triton_torch_serves_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda.available.cache_clear()
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    with pytest.warns(RuntimeWarning, match=r"plain torch, with the same results.*Triton is not installed.*pip"):
        assert not cuda.available()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not cuda.available()
    cuda.available.cache_clear()
