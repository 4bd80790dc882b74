"""Simple CNNs, tasks and trained networks side by side on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import poolscope as ps
from poolscope.networks import write_weights
from poolscope.studies.architectures import gather
from poolscope.studies.scale_detection import Compared, Simple
from test_cli import run  # noqa: F401
from training.made_up_runs import made_run, measured

EXPERIMENT = """
task = "scale-detection:task=1,length=16,scale=5,gap=2,train=20"
depth = 2
channels = 4
lr = 0.05
ridge = 0.02
batch_size = 4
multiple = 1.2
wait = 0.1
give_up = 400
check_every = 2
"""


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leave out tables and pictures, which take most of the time; their own tests look at them."""
    saved: list[str] = []
    for kind in (Simple, Compared):
        monkeypatch.setattr(kind, "save", lambda self, folder, record: saved.append(Path(folder).name))
    return saved


def written(folder: Path, name: str, more: str = "") -> str:
    (folder / f"{name}.toml").write_text(EXPERIMENT + more)
    return str(folder / f"{name}.toml")


def test_train_of_an_experiment_prints_theory_and_goes_on(
    run: Any,  # noqa: F811
    tmp_path: Path,
    no_pages: list[str],
) -> None:
    words = ["train", written(tmp_path, "tiny"), "--seeds", "0,1", "--threads", "1", "--out", str(tmp_path / "out")]
    code, out, err = run(*words)
    assert code == 0, err
    assert "D_exact" in out
    assert "Seed 1 finished: interpolated after" in out
    assert no_pages == ["out"]
    weights = (tmp_path / "out" / "seed-0" / "last.safetensors").read_bytes()
    assert run(*words)[0] == 0  # nothing is trained again
    assert (tmp_path / "out" / "seed-0" / "last.safetensors").read_bytes() == weights
    code, out, _ = run("theory", "--weights", str(tmp_path / "out" / "seed-0" / "last.safetensors"), "--length", "16",
                       "--scale", "5", "--gap", "2", "--depth", "2")  # fmt: skip
    assert code == 0
    assert "mean filters" in out


def test_experiments_with_commas_are_compared(run: Any, tmp_path: Path, no_pages: list[str]) -> None:  # noqa: F811
    names = ",".join([written(tmp_path, "one"), written(tmp_path, "two", 'activation = "tanh"\n')])
    code, out, err = run("train", names, "--seeds", "0", "--threads", "1", "--out", str(tmp_path / "both"))
    assert code == 0, err
    assert "how G grows over the layers" in out
    assert (tmp_path / "both" / "two" / "seed-0" / "outcome.json").is_file()
    assert no_pages == ["one", "two", "both"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task1-laptop", "--data", "cifar10"], r"an experiment decides on data.*got --data"),
        (["task9-laptop"], r"must be one of .*task1-laptop.*got 'task9-laptop'"),
        (["task1-laptop,task1-laptop"], "every experiment must be given once"),
        (["task1-laptop", "--set", "depth=0"], r"depth: .*greater than or equal to 1; got 0"),
        (["task1-laptop", "--set", "deep=3"], r"fields must be among .*got 'deep'"),
    ],
)
def test_bad_words_are_told_before_anything_is_written(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str  # noqa: F811
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("train", *words)
    assert code == 2
    assert re.search(message, err), err
    assert not list(tmp_path.iterdir())


def test_measure_moves_single_pixels_of_tasks(run: Any, tmp_path: Path) -> None:  # noqa: F811
    model = ps.load_model("poolscope:simplecnn", depth=2, channels=4, seed=0)
    write_weights(model, tmp_path / "m.safetensors")
    task = "scale-detection:task=1,length=16,scale=5,gap=2"
    code, _, err = run("measure", str(tmp_path / "m.safetensors"), "--data", task, "--out", str(tmp_path / "page"))
    assert code == 0, err
    record = ps.read_result(tmp_path / "page" / "measurement.parquet").record
    other = ps.load_model("poolscope:simplecnn", depth=2, channels=4, seed=1)
    write_weights(other, tmp_path / "i.safetensors")
    code, out, err = run("measure", str(tmp_path / "m.safetensors"), "--data", task, "--initial",
                         str(tmp_path / "i.safetensors"))  # fmt: skip
    assert code == 0, err
    assert "initial" in out
    assert record["deformation"]["moves"] == "neighbour-or-stay"
    assert record["deformation"]["edge"] == "wrap"
    code, _, err = run("measure", str(tmp_path / "m.safetensors"), "--data", task, "--moves", "sideways")
    assert code == 2
    assert "moves must be one of left-right" in err
    code, _, err = run("measure", "poolscope:minivgg", "--moves", "left-right", "--displacement", "1")
    assert code == 2
    assert "--moves and --displacement must not be given both" in err


def test_trained_networks_become_points() -> None:
    runs = {
        f"net{number}": [
            made_run(seed, test_error=0.1 * (number + 1), sensitivity=measured(seed, {0: 1.0, 2: 0.2 * (number + 1)}))
            for seed in (0, 1)
        ]
        for number in range(4)
    }
    runs["dead"] = [made_run(0, status="dead", sensitivity=measured(0, {2: 9.0}))]
    found = gather(runs)
    assert set(found.networks["model"]) == {f"net{number}" for number in range(4)}
    assert found.networks["R"].tolist() == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8])
    table = found.correlations.set_index("quantity")
    assert table.loc["R", "correlation"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least one run must have finished"):
        gather({"dead": runs["dead"]})
