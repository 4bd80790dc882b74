"""Training by names: what the arguments become, and one line for a wrong one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import poolscope as ps
from poolscope.training import Data, load_recipe, train
from poolscope.training.launch import configure


def test_the_arguments_reach_the_configuration(arrays_cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    said: list[str] = []
    recipe = load_recipe("digits").changed(epochs=1, dead_after=9, lr=1e-6, warmup_epochs=0.0)
    run = train(
        "poolscope:fullconn2", "digits", out=tmp_path / "a" / "run", recipe=recipe, seed=2, validation=30,
        train_images=60, eta=0.5, noise="frozen", measure_at=(0, "last"), measure={"images": 10, "layers": "output"},
        options={"width": 0.25}, device="cpu", threads=1, say=said.append, progress=False, cache=arrays_cache,
        data_seed=7,
    )  # fmt: skip
    chosen = run.configuration
    assert (chosen.model, chosen.seed, chosen.device, chosen.threads) == ("poolscope:fullconn2", 2, "cpu", 1)
    assert chosen.options == {"num_classes": 10, "in_channels": 1, "width": 0.25}
    assert chosen.recipe == recipe
    data = chosen.data
    assert (data.spec, data.images, data.validation, data.eta, data.noise, data.seed) == (
        "digits", 60, 30, 0.5, "frozen", 7,
    )  # fmt: skip
    measured = chosen.measure
    assert (measured.at, measured.last, measured.images, measured.layers) == ((0,), True, 10, "output")
    assert run.folder == tmp_path / "a" / "run"
    assert said
    assert run.sensitivity is not None
    assert run.sensitivity["displacement"].unique().tolist() == [1.0]  # 32 pixels / 32
    loaded = ps.load_model(str(run.folder / "initial.safetensors"))
    assert all(
        torch.equal(value, run.model("initial").state_dict()[name]) for name, value in loaded.state_dict().items()
    )


def test_defaults(digits: Data) -> None:
    plain = configure("poolscope:lenet", digits, load_recipe("laptop"))
    assert plain.threads == torch.get_num_threads()
    assert plain.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert plain.measure.at == ()
    assert not plain.measure.last
    ordered = configure("poolscope:lenet", digits, load_recipe("laptop"), measure_at=(3, "last", 0, 3))
    assert ordered.measure.at == (0, 3)
    assert ordered.measure.last


def test_hinge_has_one_output_and_needs_two_classes(digits: Data) -> None:
    hinge = load_recipe("scale-detection")
    assert configure("poolscope:lenet", replace(digits, classes=2), hinge).options["num_classes"] == 1
    with pytest.raises(ValueError, match="the hinge loss needs two classes, told by a sign; digits has 10"):
        configure("poolscope:lenet", digits, hinge)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"measure_at": (6,)}, r"measure_at must be epochs in 0 \.\. 5, or last; got \[6\]"),
        ({"measure_at": (-1, "last")}, r"measure_at must be epochs in 0 \.\. 5, or last; got \[-1, 'last'\]"),
        ({"measure": {"images": 1}}, "measure: images: .*greater than or equal to 2; got 1"),
        ({"measure": {"colour": 1}}, "measure: fields must be among at, last, images, .*; got 'colour'"),
        ({"measure": {"bn": "none"}}, "measure: bn: Input should be .*; got 'none'"),
    ],
)
def test_wrong_arguments_are_one_line(digits: Data, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$") as caught:
        configure("poolscope:lenet", digits, load_recipe("laptop"), **arguments)
    assert "\n" not in str(caught.value)


def test_epochs_are_named_once(digits: Data) -> None:
    with pytest.raises(TypeError, match="at"):
        configure("poolscope:lenet", digits, load_recipe("laptop"), measure={"at": (1,)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": {"num_classes": 5}}, r"a number for each of 10 classes; got shape \(2, 5\) of two"),
        ({"measure_at": (0,), "measure": {"layers": ("nowhere",)}}, "nowhere"),
        ({"measure_at": ("last",), "measure": {"cutoff": 40}}, "cutoff"),
    ],
)
def test_a_wrong_choice_shows_before_a_folder_holds_it(
    digits: Data, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train("poolscope:lenet", digits, out=tmp_path / "run", recipe="digits", device="cpu", threads=1, **arguments)
    assert not (tmp_path / "run").exists()


def test_training_does_not_start_from_a_weights_file(digits):
    with pytest.raises(ValueError, match=r"starts from initial weights.*best\.safetensors"):
        configure("runs/seed-0/best.safetensors", digits, load_recipe("digits"))
