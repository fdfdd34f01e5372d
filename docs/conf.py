"""Build the documentation: ``sphinx-build -W -b html docs build/docs``."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "snnconv"
author = "the snnconv developers"
release = version = version_of("snnconv")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "reference_tables",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "snnconv"
html_show_sourcelink = False
html_show_copyright = False

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath", "colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Warns", "params_style"), "Shape", "Reference", "Deviations"]
python_use_unqualified_type_names = True
