"""The command train from start to finish: what it prints and writes, going on, wrong words, and what ended badly."""

import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

import poolscope as ps
from poolscope.studies.train import Trained
from poolscope.training.learner import Learner
from test_cli import run  # noqa: F401

SMALL = ["train", "poolscope:minivgg", "--option", "width=0.1", "--train-images", "100", "--measure-images", "20"]
SMALL += ["--threads", "1", "--device", "cpu"]
QUICK = [*SMALL, "--epochs", "1", "--set", "warmup_epochs=0"]
# Learns enough to be told from chance: a training error of some 0.6
LEARNS = [*SMALL, "--train-images", "200", "--epochs", "3", "--set", "warmup_epochs=0.5", "--set", "batch_size=16"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("arrays")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    monkeypatch.setenv("POOLSCOPE_CACHE", str(cache))


@pytest.fixture
def no_page(monkeypatch):
    """Leave out the pictures, which take most of the time."""
    monkeypatch.setattr(Trained, "save", lambda self, folder, record: [])


def weights(folder: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return ps.load_model(str(folder / f"{which}.safetensors")).state_dict()


def test_a_training_from_start_to_finish_and_again(run, tmp_path, monkeypatch):  # noqa: F811
    out = tmp_path / "runs" / "small"
    words = [*LEARNS, "--seeds", "0-1", "--validation", "test", "--activation", "gelu", "--eta", "0.5"]
    words += ["--displacement", "0.5", "--layers", "output", "--measure-at", "last", "--out", str(out)]
    code, printed, err = run(*words)
    assert (code, err) == (0, "")
    read = ps.read_run(out / "seed-1")
    chosen = read.configuration
    assert (chosen.seed, chosen.threads, chosen.recipe.epochs, chosen.recipe.batch_size) == (1, 1, 3, 16)
    assert chosen.recipe.warmup_epochs == 0.5
    assert chosen.recipe.lr == 0.05  # of the recipe digits, which the digits get
    assert chosen.options == {"num_classes": 10, "in_channels": 1, "activation": "gelu", "width": 0.1}
    data = chosen.data
    assert (data.spec, data.validation, data.images, data.eta) == ("digits", "test", 200, 0.5)
    assert (chosen.measure.at, chosen.measure.last, chosen.measure.displacement) == ((), True, (0.5,))
    assert (chosen.measure.images, chosen.measure.layers) == (20, "output")
    assert any(isinstance(module, torch.nn.GELU) for module in read.model("best").modules())

    outcomes = pd.read_parquet(out / "outcomes.parquet")
    assert outcomes["selected_by"].tolist() == ["test", "test"]
    assert outcomes["best_test_error"].iloc[1] == read.outcome["best_test_error"]
    mean = outcomes["best_test_error"].mean()
    page = (out / "report.html").read_text(encoding="utf-8").replace("\xa0", " ")
    for text in (printed, page):
        assert f"Test error {mean:.2%} (mean of 2 seeds" in text
        assert "chosen by the test images themselves" in text
    assert "seed-1: epoch 3 of 3" in printed
    assert "status" in printed
    assert printed.count("finished") >= 4
    assert f"open {out / 'report.html'}" in printed
    assert pd.read_parquet(out / "averages.parquet")["seeds"].tolist() == [2, 2]  # input and output

    monkeypatch.setattr(Learner, "advance", lambda self: pytest.fail("it was trained again"))
    monkeypatch.setattr(Trained, "save", lambda self, folder, record: [])
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    code, again, _ = run(*words)
    assert code == 0
    assert "epoch 1 of 3" not in again
    assert printed.endswith(again)  # the same table and sentences
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}


def test_ctrl_c_exits_with_130_and_goes_on_to_the_same_weights(run, tmp_path, monkeypatch, no_page):  # noqa: F811
    words = [*LEARNS, "--layers", "output", "--measure-at", "1", "--out"]
    assert run(*words, str(tmp_path / "whole"))[0] == 0
    advance, steps = Learner.advance, []

    def interrupted(self):
        steps.append(self.epoch)
        if steps.count(1) == 3:  # in the second epoch; a measurement leaves a checkpoint at the end of the first
            signal.raise_signal(signal.SIGINT)
        return advance(self)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job has not
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Learner, "advance", interrupted)
            code, _, err = run(*words, str(tmp_path / "cut"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, err) == (130, "poolscope: interrupted\n")
    assert not (tmp_path / "cut" / "seed-0" / "outcome.json").exists()
    code, printed, _ = run(*words, str(tmp_path / "cut"))
    assert code == 0
    assert "goes on after 1 epoch" in printed
    assert "epoch 1 of 3" not in printed
    whole, cut = (weights(tmp_path / name / "seed-0") for name in ("whole", "cut"))
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())


def test_a_network_of_your_own_needs_trust(run, tmp_path, monkeypatch, no_page):  # noqa: F811
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "def small(num_classes, in_channels, hidden=8):\n"
        "    first = nn.Linear(in_channels * 32 * 32, hidden)\n"
        "    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(hidden, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")  # as of python -m
    words = ["train", "my_networks:small", "--option", "hidden=16", *LEARNS[4:], "--measure-at", "none"]
    code, _, err = run(*words)
    assert code == 2
    assert "--trust-code" in err
    assert not (tmp_path / "runs" / "small" / "seed-0").exists()
    code, _, err = run(*words, "--trust-code")
    assert code == 0, err
    run_folder = tmp_path / "runs" / "small" / "seed-0"
    assert ps.read_run(run_folder).configuration.options["hidden"] == 16
    assert ps.read_run(run_folder).model("best", trust_code=True)[1].out_features == 16


def test_only_dead_runs_exit_with_1_and_the_reason(run, tmp_path, monkeypatch):  # noqa: F811
    pages = []
    monkeypatch.setattr(Trained, "save", lambda self, folder, record: pages.append(self.summary()))
    words = [*QUICK, "--set", "lr=1e-9", "--measure-at", "none", "--out", str(tmp_path)]
    code, printed, err = run(*words)
    assert code == 1
    assert re.fullmatch(r"poolscope: every run is dead: chance after 1 epoch: training accuracy 0\.\d+, .*\n", err)
    assert "dead" in printed
    assert "Seed 0 is dead, and left out of every mean" in str(pages)  # which is written all the same


def test_a_folder_at_work_and_a_full_disk_are_one_line(run, tmp_path, monkeypatch):  # noqa: F811
    from poolscope.training import TrainingStopped

    errors = [BlockingIOError("another one is at work"), TrainingStopped("no space left: make room")]
    for error in errors:
        def failing(*args, error=error, **kwargs):
            raise error

        monkeypatch.setattr("poolscope.studies.train.train_run", failing)
        code, _, err = run(*QUICK, "--measure-at", "none", "--out", str(tmp_path))
        assert (code, err) == (1, f"poolscope: {error}\n")


def test_trial_prints_four_rows_and_trains_nothing(run, tmp_path, monkeypatch):  # noqa: F811
    from poolscope.training.trial import time_steps

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("poolscope.training.trial.time_steps", partial(time_steps, seconds=0.05))
    code, printed, err = run(*QUICK, "--trial")
    assert code == 0, err
    rows = re.findall(r"(float32|bf16-mixed)\W+(contiguous|channels_last)\W+[\d.]", printed)
    assert len(rows) == len(set(rows)) == 4
    assert f"--precision {rows[0][0]} --memory-format {rows[0][1]}" in printed  # the fastest is the first
    assert list(tmp_path.iterdir()) == []


def text(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


def claimed(folder: Path) -> list[str]:
    """A folder whose run has another rate."""
    from poolscope.training import load_recipe, prepare_data
    from poolscope.training.launch import configure

    recipe = load_recipe("digits").changed(epochs=1, warmup_epochs=0.0, lr=0.025)
    configuration = configure(
        "poolscope:minivgg", prepare_data("digits", images=100), recipe, measure_at=[0, "last"],
        measure={"images": 20}, options={"width": 0.1}, device="cpu", threads=1,
    )  # fmt: skip
    (folder / "taken" / "seed-0").mkdir(parents=True)
    text(folder / "taken" / "seed-0", "run.json", configuration.model_dump_json())
    return ["--out", str(folder / "taken")]


CASES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "unknown model": (lambda p: ["train", "poolscope:vgg12", *QUICK[4:]], "vgg1"),
    "unknown recipe": (lambda p: [*QUICK, "--recipe", "cifar"], "cifar-sgd.*got 'cifar'"),
    "recipe file that is not there": (lambda p: [*QUICK, "--recipe", "gone.toml"], "existing file; got gone.toml"),
    "recipe that is not TOML": (lambda p: [*QUICK, "--recipe", str(text(p, "a.toml", "lr: 1"))], "TOML"),
    "unknown field": (lambda p: [*QUICK, "--set", "learning_rate=0.1"], "among .*lr.*got 'learning_rate'"),
    "field out of range": (lambda p: [*QUICK, "--set", "lr=-1"], "lr: .*greater than 0; got -1"),
    "field in words": (lambda p: [*QUICK, "--set", "lr=fast"], "lr: .*number; got 'fast'"),
    "field without value": (lambda p: [*QUICK, "--set", "lr"], "--set must be like name=value; got 'lr'"),
    "warm-up longer than training": (lambda p: [*SMALL, "--epochs", "1"], "fewer than epochs = 1; got 2"),
    "unknown precision": (lambda p: [*QUICK, "--precision", "float8"], "float8"),
    "seeds in words": (lambda p: [*QUICK, "--seeds", "three"], "--seeds must be whole numbers.*got 'three'"),
    "seeds downwards": (lambda p: [*QUICK, "--seeds", "3,4-0"], "--seeds must be whole numbers.*got '3,4-0'"),
    "seed twice": (lambda p: [*QUICK, "--seeds", "0-2,1"], "--seeds must be different.*got '0-2,1'"),
    "negative seed": (lambda p: [*QUICK, "--seeds", "-1"], "got '-1'"),
    "epochs in words": (lambda p: [*QUICK, "--measure-at", "0,end"], "--measure-at must be epochs.*got '0,end'"),
    "epochs beyond the end": (lambda p: [*QUICK, "--measure-at", "0,2"], r"0 \.\. 1, or last; got \[0, 2\]"),
    "validation in words": (lambda p: [*QUICK, "--validation", "some"], "--validation must be .*or test; got 'some'"),
    "no validation images": (lambda p: [*QUICK, "--validation", "0"], "--validation must be .*got '0'"),
    "more validation than images": (lambda p: [*QUICK, "--validation", "9999"], "1437.*got 9999"),
    "unknown noise": (lambda p: [*QUICK, "--noise", "pink"], "--noise must be fresh or frozen; got 'pink'"),
    "infinite noise": (lambda p: [*QUICK, "--eta", "inf"], "eta: .*got inf"),
    "no displacement": (lambda p: [*QUICK, "--displacement", "0"], "displacement: .*greater than 0; got 0"),
    "cutoff too high": (lambda p: [*QUICK, "--cutoff", "99"], "cutoff must be in 1 .. .*got 99"),
    "unknown layers": (lambda p: [*QUICK, "--layers", "conv99"], "conv99"),
    "unknown activation": (lambda p: [*QUICK, "--activation", "step"], "softplus.*got 'step'"),
    "unknown option": (lambda p: [*QUICK, "--option", "widht=0.1"], "widht"),
    "unknown data": (lambda p: [*QUICK, "--data", "mnist"], "mnist"),
    "unknown split": (lambda p: [*QUICK, "--test-split", "holdout"], "holdout"),
    "hinge loss for ten classes": (lambda p: [*QUICK, "--set", "loss=hinge"], "two classes.*digits has 10"),
    "a folder with another run": (lambda p: [*QUICK, *claimed(p)], "recipe.lr is 0.025 there and 0.05 here"),
    "unwritable out": (lambda p: [*QUICK, "--out", str(text(p, "file", "") / "below")], "written to"),
    "absent CIFAR": (lambda p: [*QUICK, "--data", "cifar10", "--root", str(p)], "(?i)cifar"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_exit_code_2(run, tmp_path, monkeypatch, name):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Learner, "advance", lambda self: pytest.fail("it was trained"))
    made, rule = CASES[name]
    words = made(tmp_path)
    code, printed, err = run(*words)
    assert code == 2, err
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("poolscope: ")
    assert "Traceback" not in printed + err
    assert re.search(rule, err), err
    assert "taken" in str(words) or not list(tmp_path.rglob("seed-0"))  # no folder holds what cannot be run


def test_none_takes_a_limit_away(run, tmp_path, monkeypatch, no_page):  # noqa: F811
    recipe = text(tmp_path, "mine.toml", "epochs = 1\nlr = 1e-9\nclip_norm = 1.0\npatience = 3\nbatch_size = 50\n")
    words = [*SMALL, "--recipe", str(recipe), "--set", "clip_norm=none", "--set", "flip=true", "--measure-at", "none"]
    run(*words, "--out", str(tmp_path / "out"))
    found = ps.read_run(tmp_path / "out" / "seed-0").configuration.recipe
    assert (found.clip_norm, found.patience, found.flip) == (None, 3, True)


def test_info_prints_table_c1_and_the_recipes(run):  # noqa: F811
    published = {
        "fullconn2": 197322, "fullconn4": 205642, "fullconn6": 213962, "lenet": 62006, "alexnet": 23272266,
        "vgg11": 9225610, "vgg11_bn": 9231114, "vgg16_bn": 14728266, "vgg19_bn": 20040522, "resnet18": 11173962,
        "resnet34": 21282122, "resnet50": 23520842, "efficientnet_b0": 3599686,
    }  # fmt: skip
    code, printed, err = run("info", "--models")
    assert (code, err) == (0, "")
    found = dict(re.findall(r"poolscope:(\w+) .* (\d{5,8}) ", printed))
    assert {name: int(found[name]) for name in published} == published
    assert {"vgg16", "vgg19"} <= found.keys()
    code, printed, err = run("info", "--recipes")
    assert (code, err) == (0, "")
    names = ["cifar-adam-fc", "cifar-sgd", "digits", "laptop", "laptop-fc", "laptop-plain", "scale-detection"]
    names += ["scale-detection-fc", "swish1-laptop", "swish4-laptop", "tanh-laptop", "tanh-paper", "task1-laptop"]
    names += ["task1-paper", "task2-laptop", "task2-paper"]
    assert re.findall(r"^([\w-]+): \w", printed, flags=re.MULTILINE) == names
    assert "schedule_span 0.8" in printed


def test_help_tells_every_option(run):  # noqa: F811
    code, printed, _ = run("train", "--help")
    assert code == 0
    for option in ("--recipe", "--seeds", "--set", "--measure-at", "--validation", "--trial", "--trust-code"):
        assert option in printed
    assert "poolscope train poolscope:vgg11_bn --data cifar10" in " ".join(printed.split())
