"""What users see: every public name is documented with an example, the docs are complete, the README's code is code."""

from __future__ import annotations

import inspect
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

import thinwire
from thinwire import compressors, presets, spec

ROOT = Path(__file__).parents[2]
DOCUMENTED = [name for name in thinwire.__all__ if not name.startswith("__")]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<(?:img|a)\b[^>]*?(?:src|href)=\"([^\"]+)\"")


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced code blocks of a Markdown text in these languages."""
    return [textwrap.dedent(body) for _, language, body in BLOCK.findall(text) if language in languages]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_public_name_has_a_docstring_with_an_example(name: str) -> None:
    """pytest's doctests then run it."""
    doc = vars(getattr(thinwire, name)).get("__doc__") if inspect.isclass(getattr(thinwire, name)) else None
    doc = doc or inspect.getdoc(getattr(thinwire, name)) or ""
    assert doc, f"thinwire.{name} has no docstring"
    assert not doc.startswith(f"{name}("), f"thinwire.{name} has only the docstring that dataclasses make"
    assert ">>> " in doc, f"the docstring of thinwire.{name} has no example"


def test_all_is_complete() -> None:
    for name in thinwire.__all__:
        assert hasattr(thinwire, name), name
    own = {
        name
        for name, value in vars(thinwire).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert own <= set(thinwire.__all__), "imported by thinwire/__init__.py, but not in __all__"
    assert set(presets.PRESETS) <= set(thinwire.__all__)
    assert {cls.__name__ for cls in spec.COMPRESSORS.values()} <= set(thinwire.__all__)


def test_every_compressor_that_can_be_used_has_a_name_in_specs() -> None:
    made_by_operators = {"Chain", "Scaled"}
    concrete = {
        name
        for name in compressors.__all__
        if not inspect.isabstract(getattr(compressors, name)) and name not in made_by_operators
    }
    assert concrete == {cls.__name__ for cls in spec.COMPRESSORS.values()}


def test_typed_and_versioned() -> None:
    assert (ROOT / "src/thinwire/py.typed").is_file()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == thinwire.__version__


def test_constraints_pin_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pins = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "#" not in line]
    assert pins[0].startswith("torch==")
    assert {re.split(r"[^\w-]", requirement)[0] for requirement in asked} <= {pin.split("==")[0] for pin in pins}


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) >= 400
    }
    assert not long


def test_the_api_page_has_every_public_name_once() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\.\. auto(?:class|function|exception|data):: (\w+)", page, re.MULTILINE)
    assert sorted(listed) == sorted(DOCUMENTED)


def test_the_design_page_has_every_preset() -> None:
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    assert not [name for name in presets.PRESETS if f"`{name}`" not in page]


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda path: path.name)
def test_the_documentation_is_reachable(page: Path) -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert page.stem == "index" or page.stem in index.split(), f"{page.name} is not in the table of contents"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda path: path.name
)
def test_python_in_the_pages_is_python(page: Path) -> None:
    for code in blocks(page.read_text(encoding="utf-8"), "python", "py"):
        if ">>>" not in code:
            compile(code, str(page), "exec")


def test_the_readme_shows_code() -> None:
    assert blocks(README, "python", "py")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_relative_links_lead_somewhere(page: str) -> None:
    text = BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    links = [first or second for first, second in LINK.findall(text)]
    relative = [link for link in links if not re.match(r"[a-z]+:|#", link)]
    assert not [link for link in relative if not (ROOT / link.partition("#")[0]).exists()]
