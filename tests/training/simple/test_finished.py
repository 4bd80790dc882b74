"""Finished simple CNNs: what is read from their folder, and what is said of one that holds less."""

import shutil
from pathlib import Path

import pytest

from poolscope.training.simple.finished import SimpleRuns, read_simple_runs
from training.simple.small_experiments import small, trained


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SimpleRuns:
    return trained(small(most_epochs=6), tmp_path_factory.mktemp("few") / "runs", (0, 2, 10))


def test_seeds_come_in_the_order_asked_for(runs: SimpleRuns) -> None:
    assert read_simple_runs(str(runs.folder)).outcomes["seed"].tolist() == [0, 2, 10]
    chosen = read_simple_runs(runs.folder, [10, 0])
    assert chosen.outcomes["seed"].tolist() == [10, 0]
    assert chosen.checks["seed"].unique().tolist() == [10, 0]
    assert list(chosen.checks) == ["seed", "epoch", "loss"]
    assert chosen.experiment == small(most_epochs=6)
    for column in ("status", "interpolation", "epochs", "multiple", "loss", "training_error", "test_error",
                   "balanced_test_error", "seconds"):  # fmt: skip
        assert column in chosen.outcomes


def test_what_is_missing_is_said(runs: SimpleRuns, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold run\.json; .*none does not"):
        read_simple_runs(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"seed 7 must have ended; .*seed-7 holds no outcome\.json"):
        read_simple_runs(runs.folder, [0, 7])
    (tmp_path / "empty").mkdir()
    shutil.copy(runs.folder / "run.json", tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"at least one seed must have ended; .*empty holds none"):
        read_simple_runs(tmp_path / "empty")


@pytest.mark.parametrize("name", ["run.json", "seed-2/outcome.json", "seed-2/checks.parquet"])
def test_a_damaged_file_is_a_value_error(runs: SimpleRuns, tmp_path: Path, name: str) -> None:
    shutil.copytree(runs.folder, tmp_path / "copy")
    content = (tmp_path / "copy" / name).read_bytes()
    (tmp_path / "copy" / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError):  # noqa: PT011
        read_simple_runs(tmp_path / "copy")
