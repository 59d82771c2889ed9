"""Sphinx's settings for the site. ``scripts/docs`` builds it."""

import inspect
from pathlib import Path

from sphinx.util.inspect import stringify_signature

import jaxdrop

project = "jaxdrop"
author = "The jaxdrop authors"
project_copyright = "2026, the jaxdrop authors"
version = release = jaxdrop.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_templates"]
templates_path = ["_templates"]

html_theme = "sphinx_book_theme"
html_title = "jaxdrop"
html_favicon = "_static/favicon.svg"
html_use_index = False  # the reference and the search take its place
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search is in the side bar
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parents[1] / "executed")
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "remove"  # logs, with times and temporary folders in them

autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"  # the docstrings name shapes, units and ranges
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Not for", "notes_style"), "Reference"]
copybutton_prompt_text = ">>> |... |$ "
copybutton_prompt_is_regexp = True


def setup(app):
    app.connect("autodoc-process-signature", of_constructor)


def of_constructor(app, what, name, obj, options, signature, return_annotation):
    """Show an NNX class as it is called: its metaclass takes ``*args, **kwargs``."""
    if what != "class" or signature != "(*args, **kwargs)":
        return None
    found = inspect.signature(obj.__init__)
    parameters = [p for p in found.parameters.values() if p.name != "self"]
    found = found.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return stringify_signature(found, show_annotation=False), None
