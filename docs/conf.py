"""Sphinx: the pages are Markdown (MyST), the reference is made from the docstrings."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

from thinwire import __version__

project = "thinwire"
author = "The thinwire developers"
copyright = "The thinwire developers, Apache License 2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "py:obj"  # `attach` in a docstring is a link where there is something to link to
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "thinwire"
html_copy_source = False


def _marks(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """|x_j| in a docstring is a magnitude, not a substitution; coef_ is a name, not a link."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[number] = re.sub(r"(?<=\w)_(?!\w)", r"\_", line.replace("|", r"\|"))


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", _marks)
