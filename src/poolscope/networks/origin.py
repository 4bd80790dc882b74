"""What `load_model` remembers of a model, and what a weights file says of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from torch import nn

from poolscope.networks.image_format import Preprocessing


class Recipe(NamedTuple):
    """What `load_model` needs to build a network again, weights apart; ``None`` is the constructor's own choice."""

    name: str
    num_classes: int | None
    in_channels: int | None
    options: Mapping[str, Any]


class Origin(NamedTuple):
    """The name a model goes by, what its images are to be, and how to build it again."""

    name: str
    preprocessing: Preprocessing | None
    recipe: Recipe


origins: WeakKeyDictionary[nn.Module, Origin] = WeakKeyDictionary()  # of the models made here, while they live


def model_name(model: nn.Module) -> str:
    """The name by which `load_model` made this model; of others, the name of their class."""
    return origins[model].name if model in origins else type(model).__name__


def inherit_origin(copy: nn.Module, original: nn.Module) -> None:
    """Let a copy of a model go by the original's name and preprocessing."""
    if original in origins:
        origins[copy] = origins[original]


def origin_facts(model: nn.Module) -> dict[str, Any]:
    """Return, in JSON's types, what is known of a model: ``"model"`` (its recipe) and ``"preprocessing"``.

    Options that JSON cannot hold are named under ``"unwritten"`` of the recipe.
    """
    if model not in origins:
        return {}
    name, num_classes, in_channels, options = origins[model].recipe
    written = {key: value for key, value in options.items() if _is_json(value)}
    described: dict[str, Any] = {
        "name": name,
        "num_classes": num_classes,
        "in_channels": in_channels,
        "options": written,
    }
    if len(written) < len(options):
        described["unwritten"] = sorted(set(options) - set(written))
    wanted = origins[model].preprocessing
    return {"model": described, **({} if wanted is None else preprocessing_facts(wanted))}


def preprocessing_facts(wanted: Preprocessing) -> dict[str, Any]:
    """Return ``{"preprocessing": {…}}`` in JSON's types."""
    return {"preprocessing": json.loads(json.dumps(dataclasses.asdict(wanted)))}  # lists in the place of tuples


def recipe_in(facts: Mapping[str, Any], path: Path) -> Recipe:
    """Return how to build the network whose weights a file holds.

    Raises:
        ValueError: the file does not say, or not in a way that is understood here.
    """
    described = facts.get("model")
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        raise ValueError(
            "a weights file given in the place of a model must say which network it is of, as files of models made by "
            f"load_model do; {path} does not: name the network, and pass weights={str(path)!r}"
        )
    if described.get("unwritten"):
        raise ValueError(
            f"the network must be named, and {path} passed as weights=, because the file cannot hold all of its "
            f"options; {', '.join(described['unwritten'])} of {described['name']} would be missing"
        )
    options = dict(described.get("options") or {})
    for other_weights in ("weights", "weights_backbone", "pretrained", "checkpoint_path"):
        options.pop(other_weights, None)  # the file has all weights; none are looked up, whatever it says
    return Recipe(described["name"], described.get("num_classes"), described.get("in_channels"), options)


def preprocessing_in(facts: Mapping[str, Any], path: Path) -> Preprocessing | None:
    """Return what the images are to be for the network whose weights a file holds; ``None`` if it does not say.

    Raises:
        ValueError: it says so in a way that is not understood here.
    """
    wanted = facts.get("preprocessing")
    if wanted is None:
        return None
    try:
        entries: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in wanted.items()
        }
        return Preprocessing(**entries)
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"preprocessing in a weights file must have this version's entries; {path}: {error}"
        ) from error


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
