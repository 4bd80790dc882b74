"""Which moves a run's representations are measured under, and whole runs on scale detection."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poolscope import Diffeomorphism, measure
from poolscope.perturb import PixelShift
from poolscope.tasks import parse
from poolscope.training import Data, load_recipe, prepare_data, train
from poolscope.training.configuration import Configuration, DataChoice, MeasureChoice
from poolscope.training.launch import configure
from poolscope.training.moves import deformations

TASK = "scale-detection:task=1,dim=2,length=12,scale=6,gap=2,padding=10,train=24,test=16"


def configuration(spec: str, **fields: Any) -> Configuration:
    data = DataChoice(spec=spec, validation="test")
    recipe = load_recipe("scale-detection")
    measured = MeasureChoice(**fields)
    return Configuration(
        model="poolscope:lenet", options={}, data=data, recipe=recipe, seed=0, measure=measured, threads=1
    )


def only(spec: str, size: tuple[int, int] = (32, 32), **fields: Any) -> tuple[Any, float, int]:
    found = deformations(configuration(spec, **fields), size)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("spec", "edge", "margin"),
    [
        ("scale-detection:dim=2,length=28,scale=14,gap=2", "clamp", 0),
        ("scale-detection:dim=2,length=28,scale=14,gap=2,padding=2", "clamp", 2),
        ("scale-detection:dim=2,length=28,scale=14,gap=2,boundary=periodic,padding=1", "wrap", 1),
    ],
)
@pytest.mark.parametrize("moves", [None, "left-right", "neighbour-or-stay", "rounded-direction"])
def test_pixels_of_tasks_move_one_by_one(spec: str, edge: str, margin: int, moves: Any) -> None:
    shift, displacement, cutoff = only(spec, moves=moves)
    expected = PixelShift(moves or "neighbour-or-stay", edge=edge, margin=margin)  # type: ignore[arg-type]
    assert shift.describe((32, 32)) == expected.describe((32, 32))
    assert (displacement, cutoff) == (expected.displacement((32, 32)), 0)


def test_other_images_are_deformed_smoothly_unless_told_otherwise() -> None:
    for moves in (None, "smooth"):
        found = deformations(configuration("digits", moves=moves, displacement=(0.5, 2.0), cutoff=5), (32, 32))
        assert [(type(each), size, cutoff) for each, size, cutoff in found] == [
            (Diffeomorphism, 0.5, 5),
            (Diffeomorphism, 2.0, 5),
        ]
        assert [each.displacement((32, 32)) for each, _, _ in found] == pytest.approx([0.5, 2.0])
    assert only("cifar10", size=(64, 48))[1:] == (1.5, 3)
    shift, displacement, cutoff = only("digits", moves="left-right")
    assert shift.describe((32, 32)) == PixelShift("left-right").describe((32, 32))
    assert (displacement, cutoff) == (1.0, 0)
    assert isinstance(only(TASK, moves="smooth")[0], Diffeomorphism)


def test_amplitudes_of_single_moves_cannot_be_chosen() -> None:
    """A displacement would be ignored without a word."""
    for spec, moves in ((TASK, None), (TASK, "left-right"), ("digits", "rounded-direction")):
        with pytest.raises(
            ValueError, match=r"displacement must be left out for moves of single pixels.*got \(0\.5,\)"
        ):
            deformations(configuration(spec, moves=moves, displacement=(0.5,)), (32, 32))


@pytest.fixture(scope="module")
def task(arrays_cache: Path) -> Data:
    return prepare_data(TASK, validation=4, cache=arrays_cache)


def test_the_tasks_images_are_shared_out(task: Data) -> None:
    scale_detection, split = parse(TASK)
    assert split is not None
    assert (len(task.train), len(task.validation), len(task.test), task.classes, task.channels) == (20, 4, 16, 2, 1)
    learned, judged = split.of(scale_detection)
    pairs = scale_detection.pairs

    def found(part: Any) -> set[bytes]:
        images = part.normalised(part.images)
        assert images.shape[1:] == (1, 32, 32)
        return {image.numpy().tobytes() for image in images.round(decimals=3)}

    def wanted(rows: torch.Tensor) -> set[bytes]:
        values = scale_detection.images(pairs[rows])
        return {image.numpy().tobytes() for image in values.round(decimals=3)}

    assert found(task.test) == wanted(judged)
    assert found(task.train) | found(task.validation) == wanted(learned)
    assert not found(task.train) & found(task.validation)


def test_the_hinge_loss_gives_the_network_one_output(task: Data) -> None:
    recipe = load_recipe("scale-detection")
    chosen = configure("poolscope:lenet", task, recipe)
    assert chosen.options == {"num_classes": 1, "in_channels": 1}
    with pytest.raises(ValueError, match="the hinge loss needs two classes, told by a sign"):
        configure("poolscope:lenet", replace(task, classes=3), recipe)


def run_of(task: Data, out: Path, moves: str | None = None, **options: Any) -> Any:
    recipe = load_recipe("scale-detection").changed(epochs=30, lr=0.02, batch_size=8, stop_at_zero_loss=False)
    choice = {"images": 12, "layers": "output", "draws": 2, "seed": 5, **({"moves": moves} if moves else {}), **options}
    return train(
        "poolscope:lenet", task, out=out, recipe=recipe, measure_at=(0, "last"), measure=choice, device="cpu",
        threads=1, say=lambda _: None, progress=False,
    )  # fmt: skip


@pytest.mark.parametrize("moves", [None, "rounded-direction", "smooth"])
def test_a_run_is_measured_under_the_moves_of_its_choice(task: Data, tmp_path: Path, moves: str | None) -> None:
    run = run_of(task, tmp_path, moves)
    assert run.finished
    table = run.sensitivity
    assert table is not None
    assert sorted(table["epoch"].unique()) == [0, 30]
    expected: Any = Diffeomorphism(1.0, 3)
    if moves != "smooth":
        expected = PixelShift(moves or "neighbour-or-stay", edge="clamp", margin=10)  # type: ignore[arg-type]
    assert table["displacement"].unique() == pytest.approx(expected.displacement((32, 32)))
    assert table["cutoff"].unique().tolist() == [3 if moves == "smooth" else 0]
    for epoch, which in ((0, "initial"), (30, "last")):
        again = measure(run.model(which), task.measured(12), expected, layers="output", draws=2, seed=5, progress=False)
        found = table[table["epoch"] == epoch]
        assert found["layer"].tolist() == again.table["layer"].tolist()
        for column in ("D", "G", "R"):
            # The same sums in float32, in whatever batches.
            np.testing.assert_allclose(found[column], again.table[column], rtol=1e-4)
    assert set(run.curve["epoch"]) >= {1, 30}


def test_the_same_run_by_name_has_the_same_weights(task: Data, tmp_path: Path, arrays_cache: Path) -> None:
    first = run_of(task, tmp_path / "prepared").model("last").state_dict()
    again = run_of(prepare_data(TASK, validation=4, cache=arrays_cache), tmp_path / "by-name")
    for name, weights in again.model("last").state_dict().items():
        assert torch.equal(weights, first[name])
    assert again.configuration.data.spec == TASK


def test_an_amplitude_of_single_moves_is_refused_before_any_folder(task: Data, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="displacement must be left out"):
        run_of(task, tmp_path / "run", displacement=(0.5,))
    assert not (tmp_path / "run").exists()


def test_unknown_moves_are_refused(task: Data) -> None:
    with pytest.raises(ValueError, match=r"measure: moves: Input should be .*'neighbour-or-stay'.*; got 'up'"):
        configure("poolscope:lenet", task, load_recipe("scale-detection"), measure={"moves": "up"})


def test_rows_are_not_trained_on_so(arrays_cache: Path) -> None:
    with pytest.raises(ValueError, match="rows of pixels are not kept as arrays of images"):
        prepare_data("scale-detection:length=32,scale=11,gap=4,train=48", cache=arrays_cache)
