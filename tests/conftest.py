"""What holds for every test: annotations are checked, generated cases repeat, nothing global is left changed."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# Before anything imports poolscope: shapes and types in its signatures are checked at every call from here on.
install_import_hook("poolscope", "beartype.beartype")

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

if "PYTEST_XDIST_WORKER" in os.environ:    # the workers share the cores; more threads would only fight over them
    torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder that holds ``cifar10-jpeg`` and ``imagenet-sample``: $POOLSCOPE_SHARED, or ../shared/data."""
    folder = Path(os.environ.get("POOLSCOPE_SHARED") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real images: no folder {folder}; name one with POOLSCOPE_SHARED")
    return folder


@pytest.fixture(scope="session", autouse=True)
def quicker_pdf() -> Iterator[None]:
    """Embed letters in PDF files as matplotlib's own type 3: TrueType takes longer than drawing the figure."""
    from poolscope.report import style

    before, style.PDF_FONTS = style.PDF_FONTS, 3
    yield
    style.PDF_FONTS = before


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pages are opened in a browser through playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("pages are opened in Chromium, and there is none on the path")
    with playwright.sync_playwright() as session:
        browser = session.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def default_dtype_unchanged() -> Iterator[None]:
    """Fail a test after which torch's default dtype is another one, and put it back for the next."""
    before = torch.get_default_dtype()
    yield
    after = torch.get_default_dtype()
    torch.set_default_dtype(before)
    assert after == before, f"the test left torch's default dtype at {after}, found it at {before}"
