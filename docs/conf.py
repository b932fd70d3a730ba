"""Sphinx's configuration: C{sphinx-build -W docs docs/_build/html}, without the network."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from hypermail._version import __version__  # noqa: E402

project = "hypermail"
author = "the hypermail maintainers"
project_copyright = "2026, the hypermail maintainers"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "epytext", "statetables"]
exclude_patterns = ["_build", "_ext", "performance/*"]  # the last is what performance.rst includes
default_role = "py:obj"  # what it cannot find it shows as code
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"

html_theme = "alabaster"
html_title = f"hypermail {version}"
html_theme_options = {
    "description": "Messages and streams over UDP, in sessions that outlive the network under them",
    "fixed_sidebar": True,
    "page_width": "68rem",
    "sidebar_width": "15rem",
}
html_show_sourcelink = False
html_copy_source = False
