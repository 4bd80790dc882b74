"""What several tests of tasks use."""

from collections.abc import Iterator

import jaxtyping
import pytest


@pytest.fixture
def unchecked_annotations() -> Iterator[None]:
    """Values of wrong types reach the code's own rules, as they do outside of the tests."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
