"""Imports flow down, and only where the table says; there are no cycles; heavy packages stay where they are used."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "thinwire"

# A part of thinwire (a module or a package at its top), from the bottom up, and the parts that it may import: all of
# them stand above it here. The first two are for everyone. Note what is absent: `comm` does not know links, and
# `link`, `presets` and `spec` do not know `comm`; `exchange` is where they meet. `lab` and `report` know neither;
# `lab`, `convex` and the logs of `training` write down where they ran, by `report.provenance`. `demo` uses what users
# use: the package, under its public name.
EVERYONES = ("version", "_check")
LAYERS = {
    "version": "",
    "_check": "",
    "keys": "",
    "payload": "keys",
    "kernels": "keys",
    "compressors": "keys payload kernels",
    "theory": "",
    "link": "compressors",
    "presets": "compressors theory link",
    "lowrank": "keys kernels",
    "spec": "compressors link presets lowrank",
    "comm": "keys payload kernels compressors",
    "rounds": "comm",
    "speech": "keys payload compressors link",
    "exchange": "keys payload compressors link presets comm rounds speech",
    "report": "",
    "training": "keys kernels compressors link presets lowrank spec comm rounds exchange report",
    "convex": "keys payload kernels compressors theory link presets spec comm rounds exchange report",
    "estimators": "comm link presets spec convex",
    "advisor": "compressors link presets lowrank spec exchange training report",
    "probing": "keys kernels compressors link presets lowrank spec comm rounds exchange training advisor report",
    "auto": "compressors link presets spec comm rounds exchange training advisor probing",
    "thinwire": "keys payload compressors link presets lowrank spec comm exchange training convex estimators advisor "
    "probing auto",
    "planner": "compressors theory link presets spec comm exchange convex advisor report",
    "baselines": "thinwire",
    "lab": "report",
    "demo": "thinwire baselines lab report",
    "bench": "compressors advisor probing thinwire baselines demo lab report",
    "solver": "thinwire convex report",
    "pages": "advisor probing bench report",
    "counsel": "lowrank comm advisor convex planner solver report",
    "cli": "advisor bench counsel demo lab pages solver probing",
    "__main__": "cli",
}

COMMANDS = ("advisor.cli", "counsel", "lab.cli", "pages.cli", "probing.cli", "solver.cli", "cli")

# Packages that only these modules may import, anywhere: `thinwire` itself must not need a screen.
ONLY_IN = {
    "matplotlib": ("report",),
    "pyarrow": ("convex.data",),
    "rich": ("report", "demo", "bench", "solver", *COMMANDS),
    "typer": ("report", "demo", "bench", *COMMANDS),
    "triton": ("kernels.cuda.device",),
    "torch": tuple(part for part in LAYERS if part not in ("version", "_check", "theory", "lab", "report", "cli")),
}


@dataclass(frozen=True)
class Import:
    """`importer` imports `target`; `late`: in a function, or for type checkers only."""

    importer: str
    target: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"thinwire.{self.importer}, line {self.line}, imports {self.target}"


def module_name(path: Path) -> str:
    """`training.stats` for src/thinwire/training/stats.py, `comm` for a package, `thinwire` for the root."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "thinwire"


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def part_of(module: str) -> str:
    return module.partition(".")[0]


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def imports_of(module: str) -> Iterator[Import]:
    """Every import statement, those inside functions too."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}, line {node.lineno}: write imports out in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(module, name, node.lineno, node in late)


def own(name: str) -> str | None:
    """The module of thinwire that an imported name comes from; None if from elsewhere."""
    if not is_within(name, "thinwire"):
        return None
    inner = name.removeprefix("thinwire").removeprefix(".")
    while inner and inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner or "thinwire"


IMPORTS = [found for module in MODULES for found in imports_of(module)]


def test_the_table_is_whole_and_in_order() -> None:
    assert {part_of(module) for module in MODULES} == set(LAYERS)
    for number, (part, below) in enumerate(LAYERS.items()):
        assert set(below.split()) <= set(list(LAYERS)[:number]), f"{part} may import only what stands above it here"


@pytest.mark.parametrize("part", LAYERS)
def test_imports_are_those_of_the_table(part: str) -> None:
    allowed = {part, *EVERYONES, *LAYERS[part].split()}
    wrong = [
        str(found)
        for found in IMPORTS
        if part_of(found.importer) == part and (target := own(found.target)) and part_of(target) not in allowed
    ]
    assert not wrong, f"{part} may import {' '.join(allowed - {part})}"


def test_no_cycles_at_import_time() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in IMPORTS:
        target = own(found.target)
        if target and not found.late and target != found.importer:
            graph[found.importer].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " → ".join(reversed(error.args[1])))


@pytest.mark.parametrize("package", ONLY_IN)
def test_heavy_packages_stay_where_they_are_used(package: str) -> None:
    homes = ONLY_IN[package]
    wrong = [
        str(found)
        for found in IMPORTS
        if is_within(found.target, package) and not any(is_within(found.importer, home) for home in homes)
    ]
    assert not wrong


def test_what_is_imported_from_elsewhere_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["parquet"]]
    declared = {requirement.split(">")[0].replace("-", "_") for requirement in asked}
    known = {"thinwire", *declared, *sys.stdlib_module_names}
    known |= {"sklearn", "triton"}  # scikit-learn's other name; triton comes with torch's builds for CUDA
    assert not [str(found) for found in IMPORTS if part_of(found.target) not in known]
