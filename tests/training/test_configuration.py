"""A configuration and its hash: every field counts, and a difference is told in words."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from poolscope.training import Recipe
from poolscope.training.configuration import Configuration, DataChoice, MeasureChoice, differences


def example() -> Configuration:
    return Configuration(
        model="poolscope:lenet",
        options={"num_classes": 10, "in_channels": 3},
        data=DataChoice(spec="cifar10", validation=5000, digests=("a", "b")),
        recipe=Recipe(epochs=5, lr=0.1),
        seed=3,
        measure=MeasureChoice(at=(0, 1), displacement=(0.4,)),
        threads=2,
    )


OTHER: dict[str, Any] = {
    "model": "poolscope:alexnet", "options": {"num_classes": 10, "in_channels": 3, "width": 0.5}, "seed": 4,
    "device": "cuda", "threads": 3, "version": 0,
    "data.spec": "digits", "data.train": "a", "data.test": None, "data.size": 32, "data.normalize": "none",
    "data.images": 100, "data.validation": "test", "data.seed": 1, "data.eta": 0.5, "data.noise": "frozen",
    "data.digests": ("a", "c"),
    "recipe.description": "other", "recipe.epochs": 6, "recipe.batch_size": 64, "recipe.loss": "hinge",
    "recipe.optimizer": "adam", "recipe.lr": 0.2, "recipe.momentum": 0.8, "recipe.weight_decay": 0.1,
    "recipe.decayed": "all", "recipe.schedule": "constant", "recipe.schedule_span": 0.8,
    "recipe.schedule_by": "epoch", "recipe.warmup_epochs": 1.0, "recipe.clip_norm": 1.0,
    "recipe.initialisation": "he", "recipe.crop_padding": 4, "recipe.crop_fill": "edge", "recipe.flip": True,
    "recipe.deformation": 0.5, "recipe.deformation_cutoff": 4, "recipe.stop_at_zero_loss": True,
    "recipe.patience": 3, "recipe.dead_after": 4, "recipe.precision": "bf16-mixed",
    "recipe.memory_format": "channels_last",
    "measure.at": (0, 2), "measure.last": True, "measure.images": 10, "measure.layers": "output",
    "measure.displacement": (0.4, 0.8), "measure.cutoff": 4, "measure.draws": 2, "measure.bn": "batch",
    "measure.moves": "left-right",
    "measure.seed": 1,
}  # fmt: skip


def fields(model: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += fields(field.annotation, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def changed(key: str, value: object) -> Configuration:
    plain = example().model_dump()
    part, _, name = key.rpartition(".")
    (plain[part] if part else plain)[name] = value
    return Configuration.model_validate(plain)


def test_every_field_is_tried() -> None:
    assert sorted(OTHER) == sorted(fields(Configuration))


@pytest.mark.parametrize("key", OTHER)
def test_every_field_changes_the_hash_and_is_named_where_it_differs(key: str) -> None:
    other = changed(key, OTHER[key])
    assert other.digest() != example().digest()
    told = differences(example().plain(), other.plain())
    if key == "recipe.description":
        assert told == []  # words make no other run
    else:
        assert len(told) == 1
        assert told[0].startswith(f"{key}.width is missing" if key == "options" else f"{key} is ")


def test_the_hash_is_of_the_content_alone() -> None:
    assert example().digest() == example().digest()
    assert len(example().digest()) == 16
    again = Configuration.model_validate_json(example().model_dump_json())
    assert again == example()
    assert again.digest() == example().digest()
    turned = changed("options", {"in_channels": 3, "num_classes": 10})
    assert turned.digest() == example().digest()


def test_the_difference_in_words() -> None:
    other = changed("recipe.lr", 0.05)
    assert differences(example().plain(), other.plain()) == ["recipe.lr is 0.1 there and 0.05 here"]
    assert differences(example().plain(), example().plain()) == []
    plain = example().plain()
    del plain["measure"]["bn"]
    assert differences(plain, example().plain()) == ["measure.bn is missing there and eval here"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", -1), ("threads", 0), ("data.eta", -1.0), ("data.eta", float("nan")), ("data.noise", "pink"),
        ("data.images", 0), ("data.validation", "train"), ("measure.images", 1), ("measure.draws", 0),
        ("measure.bn", "none"), ("measure.displacement", (0.0,)), ("measure.colour", 1), ("data.colour", 1),
        ("colour", 1),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key.rpartition(".")[2]):
        changed(key, value)
