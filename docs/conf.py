"""How Sphinx builds the documentation: `make html`."""

from __future__ import annotations

from corekit import __version__

project = "corekit"
version = release = __version__
copyright = "the corekit authors"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"corekit {version}"
html_static_path: list[str] = []

# Markdown: links to headings as on a code host, and math between dollar signs.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Docstrings: Google style, with two sections of our own; a word in single backticks is code.
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an attribute that is also a property appears once
napoleon_custom_sections = ["Shape", "Source"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
