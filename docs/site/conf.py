"""How Sphinx builds the site. `docs/site/build.py` calls it with the folder of gathered pages."""

from pygments.lexers.shell import BashLexer
from sphinx.application import Sphinx

project = "emmetd"
author = "the emmetd project"
copyright = "the emmetd project, Apache License 2.0"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
language = "en"
nitpicky = True
# Tables of contents of the API's pages are long; the page on the left shows headings of two levels.
toc_object_entries = False

myst_heading_anchors = 4
"""As code hosts give them, so that links between pages hold in both places."""
myst_enable_extensions: list[str] = []

html_theme = "furo"
html_title = "emmetd"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = False
html_last_updated_fmt = None
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "native"


class CronLexer(BashLexer):  # type: ignore[misc]  # Pygments brings no types
    """A table of cron's, of which only comments are marked."""

    name = "cron"
    aliases = ("cron",)


def setup(app: Sphinx) -> None:
    app.add_lexer("cron", CronLexer)
