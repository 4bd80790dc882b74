"""Several seeds as one: what is said agrees with the tables, dead runs are told and left out, seeds are independent."""

from pathlib import Path

import pytest
import torch

from poolscope.studies.train import gather, run
from poolscope.training import Data
from training.conftest import arrays_cache, digits  # noqa: F401
from training.made_up_runs import made_run, measured
from training.small_runs import MEASURE, small_recipe


def said(*runs) -> dict[str, list[str]]:
    return dict(gather(list(runs)).summary())


def test_error_of_one_seed():
    assert said(made_run(0, test_error=0.125)) == {
        "Error": ["Test error 12.50% at the epoch of the least error on 50 validation images."]
    }


def test_error_of_several_seeds_is_mean_range_and_deviation():
    (sentence,) = said(*(made_run(seed, test_error=error) for seed, error in enumerate((0.1, 0.2, 0.3))))["Error"]
    assert sentence == (
        "Test error 20.00% (mean of 3 seeds, from 10.00% to 30.00%; standard deviation 10.00%) at each seed's epoch of "
        "the least error on 50 validation images."
    )


def test_selection_by_the_test_images_is_marked():
    first, second = said(made_run(0, test_error=0.1, validation="test"))["Error"]
    assert first == "Test error 10.00% at the epoch of the least test error."
    assert "chosen by the test images themselves" in second
    assert "minimum over epochs" in second
    assert not any("test images" in words for words in said(made_run(0))["Error"])


def test_dead_runs_are_told_and_left_out():
    runs = [
        made_run(0, test_error=0.2, sensitivity=measured(0, {0: 1.0, 2: 2.0})),
        made_run(1, test_error=0.9, status="dead", reason="chance after 3 epochs", sensitivity=measured(1, {0: 50.0})),
        made_run(2, test_error=0.4, sensitivity=measured(2, {0: 4.0, 2: 8.0})),
    ]
    trained = gather(runs)
    words = dict(trained.summary())
    assert words["Error"][0].startswith("Test error 30.00% (mean of 2 seeds, from 20.00% to 40.00%;")
    assert words["Error"][1] == "Seed 1 is dead, and left out of every mean: chance after 3 epochs."
    (time,) = words["Training time"]
    assert time == "R of the output at 1 px: 2 before training, 4 after epoch 2; means of two seeds."
    assert trained.averages is not None
    assert set(trained.averages["seeds"]) == {2}
    assert [each.configuration.seed for each in trained.finished] == [0, 2]
    assert trained.curves.groupby("seed")["status"].first().tolist() == ["finished", "dead", "finished"]
    assert trained.sensitivity is not None
    assert set(trained.sensitivity["seed"]) == {0, 1, 2}


def test_only_dead_runs():
    trained = gather([made_run(0, status="dead", reason="chance", sensitivity=measured(0, {0: 1.0}))])
    assert trained.averages is None
    assert trained.finished == []
    assert trained.summary() == [("Error", ["Seed 0 is dead, and left out of every mean: chance."])]


def test_the_order_of_seeds_changes_nothing():
    runs = [made_run(seed, test_error=seed / 10, sensitivity=measured(seed, {0: 1.0 + seed})) for seed in (2, 0, 1)]
    one, other = gather(runs), gather(sorted(runs, key=lambda each: each.configuration.seed))
    assert one.summary() == other.summary()
    assert one.outcomes.equals(other.outcomes)
    assert one.outcomes["seed"].tolist() == [0, 1, 2]
    assert one.averages is not None
    assert other.averages is not None
    assert one.averages.equals(other.averages)


@pytest.mark.parametrize(("seeds", "of"), [(1, "over images"), (3, "over seeds")])
def test_intervals_are_the_tables(seeds, of):
    runs = [made_run(seed, sensitivity=measured(seed, {0: 1.0 + seed, 2: 3.0 + seed})) for seed in range(seeds)]
    trained = gather(runs)
    assert trained.averages is not None
    rows = trained.averages[trained.averages["layer"] == "output"].set_index("epoch")
    first, last = (f"{row.R:.3g} ({row.R_low:.3g} to {row.R_high:.3g})" for row in rows.itertuples())
    (time,) = dict(trained.summary())["Training time"]
    assert time == f"R of the output at 1 px: {first} before training, {last} after epoch 2; 95 % intervals {of}."


def test_runs_that_end_at_different_epochs_say_how_many_seeds():
    runs = [made_run(seed, sensitivity=measured(seed, {0: 1.0, 2 + seed // 2: 2.0}, error=0.0)) for seed in range(3)]
    (time,) = said(*runs)["Training time"]
    assert time == (
        "R of the output at 1 px: 1 (1 to 1) before training [3 seeds], 2 after epoch 2 [2 seeds], 2 (2 to 2) after "
        "epoch 3 [1 seed]; 95 % intervals over seeds, where there is one seed over images."
    )


def test_an_R_without_a_number_is_not_defined():
    runs = [made_run(seed, sensitivity=measured(seed, {0: float("nan"), 2: 2.0})) for seed in range(3)]
    (time,) = said(*runs)["Training time"]
    assert "px: not defined before training, 2 (" in time
    assert "nan" not in time


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1]])
def test_seeds_are_different_and_not_negative(seeds, digits: Data, tmp_path: Path):  # noqa: F811
    with pytest.raises(ValueError, match=r"seeds must be one or more different numbers from 0; got \["):
        run("poolscope:minivgg", digits, small_recipe(), seeds=seeds, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_seeds_are_runs_of_their_own(digits: Data, tmp_path: Path):  # noqa: F811
    def trained(folder: str, seeds: list[int]):
        return run(
            "poolscope:lenet", digits, small_recipe(epochs=2), seeds=seeds, out=tmp_path / folder,
            say=lambda words: None, measure_at=["last"], measure=MEASURE, device="cpu", threads=1,
        )  # fmt: skip

    both, alone = trained("both", [3, 0]), trained("alone", [3])
    assert [each.folder.name for each in both.runs] == ["seed-0", "seed-3"]
    assert both.runs[1].curve.equals(alone.runs[0].curve)
    assert both.sensitivity is not None
    assert alone.sensitivity is not None
    own = both.sensitivity[both.sensitivity["seed"] == 3].reset_index(drop=True)
    assert own["R"].tolist() == alone.sensitivity["R"].tolist()
    assert set(own["displacement"]) == {0.4, 0.8}
    first, second = (each.model("initial").state_dict()["features.0.weight"] for each in both.runs)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"options": {"widht": 0.5}}, "widht"),
        ({"measure": {"layers": "nothing.*"}, "measure_at": ["last"]}, "nothing"),
        ({"measure": {"cutoff": 99}, "measure_at": ["last"]}, "cutoff must be in 1 .. .*got 99"),
        ({"options": {"num_classes": 5}}, r"a number for each of 10 classes; got shape \(2, 5\)"),
    ],
)
def test_a_wrong_choice_shows_before_a_folder_holds_it(arguments, rule, digits: Data, tmp_path: Path):  # noqa: F811
    def train(**choice):
        return run(
            "poolscope:fullconn2", digits, small_recipe(epochs=1, warmup_epochs=0.0), seeds=[0], out=tmp_path,
            say=lambda words: None, device="cpu", threads=1, **choice,
        )  # fmt: skip

    with pytest.raises((ValueError, TypeError), match=rule):
        train(**arguments)
    assert list(tmp_path.iterdir()) == []
    assert len(train().runs) == 1  # the folder is still free
