"""The examples run as they stand."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
ARGUMENTS = {
    "train_and_measure": ["--epochs", "1", "--images", "60"],
    "own_model": ["--epochs", "1", "--shuffles", "2"],
    "own_study": ["--scale", "smoke", "--cores", "1"],
    "monitor_plain_loop": ["--epochs", "1", "--images", "100", "--measured", "30"],
    "monitor_lightning": ["--epochs", "1", "--images", "100", "--measured", "30"],
    "noise_at_initialisation": ["--images", "30", "--displacements", "1.0"],
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example, tmp_path):
    words = [sys.executable, str(example), *ARGUMENTS.get(example.stem, []), "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "measurement.parquet").is_file()
