"""What mkdocs does beside its own: examples are pages' neighbours, so that links to them work here as in the repository."""

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
    """Point links to ``../examples/`` at the copies."""
    return markdown.replace("](../examples/", "](examples/")
