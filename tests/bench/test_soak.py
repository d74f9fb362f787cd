"""benchmarks/soak.py: its verdict sees what grows; and a short run of it, with a kill, ends with equal bits."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script(monkeypatch_module: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch_module.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("soak", ROOT / "benchmarks" / "soak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def monkeypatch_module() -> pytest.MonkeyPatch:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize("an_hour, expected", [(0.0, True), (1.0, True), (30.0, False), (-30.0, True)])
def test_growth_is_seen_through_noise(script: ModuleType, an_hour: float, expected: bool) -> None:
    seconds = np.arange(0.0, 3600.0, 5.0)
    noise = np.random.default_rng(0).normal(0.0, 5.0, len(seconds))
    start = 100.0 * np.exp(-seconds / 100.0)  # caches that fill are no growth
    found = script.growth(seconds, 300.0 - start + an_hour * seconds / 3600 + noise)
    assert abs(found["an_hour"] - an_hour) <= 2 * found["plus_minus"]
    assert script.flat(found) is expected


def test_growth_of_too_few_samples_is_not_told(script: ModuleType) -> None:
    found = script.growth(np.arange(12.0), np.ones(12))
    assert found["mean"] == 1.0
    assert np.isnan(found["an_hour"])
    assert not script.flat(found)


def test_what_is_in_use_follows_what_is_taken(script: ModuleType) -> None:
    in_use = sys.modules["soak_worker"].in_use
    before = in_use()
    taken, listed = np.ones(2**22), [[i] for i in range(100_000)]  # 33.6 MB, and 100 thousand lists
    during = in_use()
    assert during["heap_mb"] - before["heap_mb"] == pytest.approx(taken.nbytes / 1e6, abs=3.0)
    assert during["blocks_k"] - before["blocks_k"] >= len(listed) / 1e3
    del taken, listed
    after = in_use()
    assert after["heap_mb"] == pytest.approx(before["heap_mb"], abs=3.0)
    assert after["blocks_k"] == pytest.approx(before["blocks_k"], abs=10.0)


def test_a_short_soak_ends_well(tmp_path: Path) -> None:
    """Flatness needs longer, so that the exit code says nothing; the bits do."""
    file = tmp_path / "soak.json"
    asked = ["--minutes", "0.1", "--kill-every", "3", "--rest", "0", "--compare", "50", "--json", str(file)]
    run = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "soak.py"), *asked], capture_output=True, text=True)
    assert file.exists(), run.stderr
    found = json.loads(file.read_text())
    assert found["replicas_bit_equal"], run.stderr
    assert found["as_undisturbed"]
    assert found["losses_finite"]
    assert found["last_loss"] < found["first_loss"]
    assert set(found["growth"]["survivor, in use"]) == {"heap_mb", "blocks_k"}
