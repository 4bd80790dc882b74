"""Recipes: those that come along, files of one's own, and one clear line for a wrong one."""

from pathlib import Path

import pytest

from poolscope.training import Recipe, load_recipe, recipe_names


def test_the_published_details() -> None:
    """Section 2 of the paper and its code: what a change of a file must not lose."""
    sgd = load_recipe("cifar-sgd")
    assert (sgd.optimizer, sgd.loss, sgd.epochs, sgd.batch_size) == ("sgd", "cross-entropy", 250, 128)
    assert (sgd.lr, sgd.momentum, sgd.weight_decay, sgd.decayed) == (0.1, 0.9, 5e-4, "weights")
    assert (sgd.schedule, sgd.schedule_by) == ("cosine", "epoch")
    assert sgd.schedule_span * sgd.epochs == 200
    assert (sgd.crop_padding, sgd.crop_fill, sgd.flip, sgd.stop_at_zero_loss) == (4, "black", True, True)
    assert (sgd.warmup_epochs, sgd.clip_norm, sgd.initialisation, sgd.patience) == (0, None, "default", None)
    adam = load_recipe("cifar-adam-fc")
    assert (adam.optimizer, adam.lr, adam.schedule, adam.weight_decay) == ("adam", 0.1, "constant", 0)
    scale = load_recipe("scale-detection")
    assert (scale.loss, scale.lr, scale.epochs, scale.momentum) == ("hinge", 0.05, 300, 0.9)
    assert (scale.weight_decay, scale.schedule_span * scale.epochs, scale.crop_padding) == (5e-4, 240, 0)


def test_all_that_come_along_are_valid_and_described() -> None:
    assert {"cifar-sgd", "cifar-adam-fc", "scale-detection", "laptop", "digits"} <= set(recipe_names())
    assert recipe_names() == sorted(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).description


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('epochs = 3\nlr = 1\nloss = "hinge"\n')
    assert load_recipe(path) == load_recipe(str(path)) == Recipe(epochs=3, lr=1.0, loss="hinge")


def test_a_changed_recipe_is_a_new_one() -> None:
    laptop = load_recipe("laptop")
    changed = laptop.changed(lr=0.2, epochs=7)
    assert (changed.lr, changed.epochs, changed.flip) == (0.2, 7, True)
    assert laptop == load_recipe("laptop")
    with pytest.raises(Exception, match="frozen"):
        laptop.lr = 3.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0.0}, "recipe: lr: Input should be greater than 0; got 0.0"),
        ({"lr": float("inf")}, "recipe: lr: Input should be a finite number; got inf"),
        ({"lr": float("nan")}, "recipe: lr: Input should be .*; got nan"),
        ({"lr": "0.1"}, "recipe: lr: Input should be a valid number; got '0.1'"),
        ({"epochs": 0}, "recipe: epochs: Input should be greater than or equal to 1; got 0"),
        ({"epochs": 2.5}, r"recipe: epochs: .*integer.*; got 2\.5"),
        ({"batch_size": 0}, "recipe: batch_size: .*; got 0"),
        ({"momentum": 1.0}, "recipe: momentum: Input should be less than 1; got 1.0"),
        ({"momentum": -0.1}, "recipe: momentum: .*greater than or equal to 0; got -0.1"),
        ({"weight_decay": -1.0}, "recipe: weight_decay: .*; got -1.0"),
        ({"optimizer": "lion"}, "recipe: optimizer: Input should be 'sgd' or 'adam'; got 'lion'"),
        ({"schedule_span": 0.0}, "recipe: schedule_span: .*greater than 0; got 0.0"),
        ({"clip_norm": 0.0}, "recipe: clip_norm: .*greater than 0; got 0.0"),
        ({"crop_padding": -1}, "recipe: crop_padding: .*; got -1"),
        ({"deformation": -0.1}, "recipe: deformation: .*; got -0.1"),
        ({"deformation_cutoff": 0}, "recipe: deformation_cutoff: .*; got 0"),
        ({"patience": 0}, "recipe: patience: .*; got 0"),
        ({"dead_after": 0}, "recipe: dead_after: .*; got 0"),
        ({"warmup_epochs": -1.0}, "recipe: warmup_epochs: .*; got -1.0"),
        ({"flip": 1}, "recipe: flip: .*; got 1"),
        ({"warmup_epochs": 5.0}, "recipe: warmup_epochs must be fewer than epochs = 5; got 5"),
        ({"learning_rate": 0.1}, "recipe: fields must be among description, epochs, .*; got 'learning_rate'"),
    ],
)
def test_a_wrong_field_is_one_line(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$") as caught:
        load_recipe("laptop").changed(**fields)
    assert "\n" not in str(caught.value)


def test_a_wrong_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a recipe must be an existing file; got .*none\.toml"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"must be one of cifar-adam-fc, cifar-sgd, .*, or a file.*got 'cifar'"):
        load_recipe("cifar")
    path = tmp_path / "mine.toml"
    path.write_text("epochs = = 3")
    with pytest.raises(ValueError, match=r"must be a TOML file; .*mine\.toml: .*line 1"):
        load_recipe(path)
    path.write_text("lr = 0.1")
    with pytest.raises(ValueError, match=r"mine\.toml: epochs must be given; got lr$"):
        load_recipe(path)
    path.write_text("epochs = 3\nlr = 0.1\n[augmentation]\nflip = true\n")
    with pytest.raises(ValueError, match=r"mine\.toml: fields must be among .*; got 'augmentation'$"):
        load_recipe(path)
