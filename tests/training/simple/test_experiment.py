"""Experiments: those that come with the package say what the text says, wrong ones are refused in one line."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from poolscope.tasks import ScaleDetection, parse
from poolscope.training.simple.experiment import Experiment, experiment_names, load_experiment
from training.simple.small_experiments import SMALL, small


def test_those_that_come_with_the_package() -> None:
    sizes = {f"{name}-{size}" for name in ("task1", "task2", "tanh") for size in ("laptop", "paper")}
    assert sizes <= set(experiment_names())
    assert experiment_names() == sorted(experiment_names())
    for name in experiment_names():
        experiment = load_experiment(name)
        assert experiment.description.endswith(".")
        assert experiment.batch_size == 8
        assert experiment.check_every == 10
        assert experiment.most_epochs == 600_000
        assert (experiment.outside, experiment.alignment, experiment.bias) == ("circular", "patches", True)
        assert experiment.together * experiment.channels <= 1000
        task, split = parse(experiment.task)
        assert split is not None
        if "task2" in name:
            assert task == ScaleDetection(task=2, length=128, scale=32)
            assert (experiment.filter_size, experiment.stride, experiment.depth) == (2, 2, 7)
            assert split.train == 1024
        else:
            assert task == ScaleDetection(task=1, length=32, scale=11, gap=4.0)
            assert (experiment.filter_size, experiment.stride, experiment.depth) == (3, 1, 12)
            assert split.train == 48
        if name in sizes:
            assert experiment.activation == ("tanh" if "tanh" in name else "relu")
        else:
            assert name.startswith(experiment.activation)
        if "paper" in name:
            assert experiment.lr == (0.003 if "tanh" in name else 0.01)
            assert (experiment.bias_lr, experiment.wait) == ("scaled", None), "as published"
            assert (experiment.channels, experiment.ridge) == (1000, 0.01)
            assert experiment.multiple == (200 if "tanh" in name else 500)
        else:
            assert experiment.channels < 256


def test_the_network_is_that_of_its_fields() -> None:
    model = load_experiment("task2-paper").network()
    assert {parameter.device for parameter in model.parameters()} == {torch.device("meta")}
    assert [tuple(layer.weight.shape) for layer in model.layers] == [(1000, 1, 2), *[(1000, 1000, 2)] * 6]
    before = torch.get_rng_state()
    square = small(task="scale-detection:dim=2,length=8,scale=4,train=10", filter_size=2, stride=2)
    assert square.network().dim == 2
    assert torch.equal(torch.get_rng_state(), before)
    assert small(activation="swish", beta=2.0, bias=False, outside="zero", alignment="centred").options == {
        "dim": 1, "depth": 3, "channels": 8, "filter_size": 2, "stride": 2, "outside": "zero", "alignment": "centred",
        "activation": "swish", "beta": 2.0, "bias": False,
    }  # fmt: skip


TOML = "\n".join(f"{key} = {value!r}" for key, value in SMALL.items())


def test_a_file_is_an_experiment(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    assert load_experiment(path) == load_experiment(str(path)) == small()
    assert small().changed(lr=0.5, channels=9) == small(lr=0.5, channels=9)
    assert small().lr == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stride": 3}, "mine: stride must be 1 or the filter size 2, as in section 4; got 3"),
        ({"batch_size": 11}, "mine: batch_size must not be above the 10 training pairs; got 11"),
        ({"depth": 5}, r"mine: depth must leave whole windows: 16 pixels are no multiple of 2\^5"),
        ({"width": 3}, "mine: fields must be among description, task, depth, .*; got 'width'"),
        ({"task": "scale-detection:task=2,length=16,scale=4"}, "mine: task must say train=, the number of training p"),
        ({"task": "scale-detection:task=2,length=16,scale=4,train=50"}, "leave enough pairs of each class.*train=50"),
        ({"task": "patches"}, "mine: a task's name must begin with scale-detection:; got 'patches'"),
        ({"activation": "gelu"}, "mine: activation: Input should be 'relu', 'tanh', 'swish' or 'linear'; got 'gelu'"),
        ({"beta": 2.0}, "mine: beta must be left out unless activation is swish.*got 'relu'"),
        ({"activation": "swish", "beta": -2.0}, "mine: beta must be finite and not negative.*got -2.0"),
        ({"lr": 0}, "mine: lr: Input should be greater than 0; got 0"),
        ({"lr": "fast"}, "mine: lr: Input should be a valid number; got 'fast'"),
        ({"ridge": -0.1}, "mine: ridge: Input should be greater than or equal to 0; got -0.1"),
        ({"channels": 2.5}, "mine: channels: Input should be a valid integer; got 2.5"),
        ({"channels": 0}, "mine: channels: Input should be greater than or equal to 1; got 0"),
        ({"together": 0}, "mine: together: .*; got 0"),
        ({"multiple": 0.0}, "mine: multiple: .*greater than 0; got 0.0"),
        ({"outside": "mirror"}, "mine: outside: .*; got 'mirror'"),
    ],
    ids=str,
)
def test_wrong_fields_are_told_in_a_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in {**SMALL, **changes}.items()))
    where = message.replace("mine", re.escape(str(path)))
    with pytest.raises(ValueError, match=where) as caught:
        load_experiment(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message.replace("mine", "experiment")):
        small().changed(**changes)


def test_what_is_no_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"must be one of .*task1-laptop, .*, or a file that ends in \.toml; got 'task3'"
    ):
        load_experiment("task3")
    with pytest.raises(FileNotFoundError, match=r"an experiment must be an existing file; got .*none\.toml"):
        load_experiment(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("lr = ")
    with pytest.raises(ValueError, match=r"must be a TOML file; .*bad\.toml"):
        load_experiment(tmp_path / "bad.toml")
    (tmp_path / "few.toml").write_text(TOML.replace("ridge = 0.02", ""))
    with pytest.raises(ValueError, match=r"few\.toml: ridge must be given; got task, depth, channels"):
        load_experiment(tmp_path / "few.toml")


def test_an_experiment_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        small().lr = 0.2  # type: ignore[misc]
    assert isinstance(small(), Experiment)
