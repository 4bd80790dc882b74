"""What the site needs beside mkdocs' own: examples stand beside the pages, so that links work as in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the scripts of ``examples/`` to the site."""
    from mkdocs.structure.files import File

    for script in sorted((Path(config.docs_dir).parent / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{script.name}", abs_src_path=str(script)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to ``../examples/`` at the copies; a page that has its tab for itself needs no list of pages."""
    if page.parent is None:
        page.meta["hide"] = ["navigation"]
    return markdown.replace("](../examples/", "](examples/")
