"""What several tests of training use."""

from pathlib import Path

import pytest

from poolscope.training import Data
from training.small_runs import small_data


@pytest.fixture(scope="session")
def arrays_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of decoded images for this session alone."""
    return tmp_path_factory.mktemp("arrays")


@pytest.fixture(scope="session")
def digits(arrays_cache: Path) -> Data:
    """A few digits, split in three."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    return small_data(arrays_cache)
