"""From words, patterns and names to the layers that are measured."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from poolscope.probe.survey import Layer, Survey

#: Words that select layers by what they are.
WORDS = ("auto", "activations", "weights", "blocks", "all")


def select(survey: Survey, layers: str | Sequence[str]) -> list[Layer]:
    """Return the layers to measure, in the order they are produced.

    Args:
        survey: what the model produces.
        layers: ``"activations"``: every elementwise nonlinearity on a map or token sequence, modules and functions
            alike, without gates (a sigmoid that multiplies, squeezed side branches) and softmax; nonlinearities after
            the last map, as in a classifier's hidden layers or a fully connected network, count too. ``"weights"``:
            convolutions and linear layers. ``"blocks"``: residual blocks, transformer layers. ``"all"``: these and
            every other leaf module. Each with the outputs. ``"auto"``: blocks where the model uses attention,
            activations elsewhere. Any other text is a regular expression that must match a whole name; a sequence
            holds names. These two select outputs only where they match.

    Raises:
        TypeError: not a text or sequence of texts.
        ValueError: no layer of that kind, an unknown name (close ones are listed), or one without a batch axis.
    """
    if isinstance(layers, str):
        if layers in WORDS:
            return _by_word(survey, layers)
        return _by_pattern(survey, layers)
    names = list(layers) if isinstance(layers, Iterable) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(f"layers must be a word, a regular expression or a sequence of layer names; got {layers!r}")
    return _by_name(survey, names)


def _by_word(survey: Survey, word: str) -> list[Layer]:
    outputs = [layer for layer in survey.layers if layer.kind == "output" and layer.axis is not None]
    inner = [layer for layer in survey.layers if layer.kind != "output" and layer.axis is not None]
    blocks = [layer for layer in inner if layer.kind == "block"]
    activations = _counted_activations(survey)
    if word == "auto":
        chosen = blocks if survey.uses_attention and blocks else activations or blocks
        chosen = chosen or [layer for layer in inner if layer.kind == "weight"]
    elif word == "activations":
        chosen = activations
    elif word == "weights":
        chosen = [layer for layer in inner if layer.kind == "weight"]
    elif word == "blocks":
        chosen = blocks
    else:
        chosen = [
            layer
            for layer in inner
            if layer.kind in ("activation", "weight", "block") or (not layer.is_function and _is_leaf(layer, inner))
        ]
    if not chosen and word not in ("auto", "all"):
        counts = {kind: sum(layer.kind == kind for layer in inner) for kind in ("activation", "weight", "block")}
        raise ValueError(
            f"layers={word!r} must select at least one layer; this model shows {counts['activation']} activations, "
            f"{counts['weight']} weights and {counts['block']} blocks: choose another word, or names"
        )
    if not chosen and not outputs:
        raise ValueError("the model shows no layer and no output in which images can be told apart")
    return chosen + outputs


def _is_leaf(layer: Layer, inner: Sequence[Layer]) -> bool:
    base = layer.name.partition("#")[0]
    return not any(other.name.startswith(f"{base}.") for other in inner)


def _counted_activations(survey: Survey) -> list[Layer]:
    """Return nonlinearities on maps and, of those on single positions, the ones behind the last map and gate."""
    nonlinear = [layer for layer in survey.layers if layer.kind == "activation" and layer.axis is not None]
    maps = [number for number, layer in enumerate(survey.layers) if layer.kind == "activation" and layer.is_spatial]
    gates = [number for number, layer in enumerate(survey.layers) if layer.is_gate]
    behind = max([-1, *maps, *gates])
    tail = {id(layer) for number, layer in enumerate(survey.layers) if number > behind}
    return [layer for layer in nonlinear if layer.is_spatial or id(layer) in tail]


def _by_pattern(survey: Survey, pattern: str) -> list[Layer]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"layers must be one of {', '.join(WORDS)}, or a regular expression; got {pattern!r}: {error}"
        ) from None
    chosen = [layer for layer in survey.layers if expression.fullmatch(layer.name) and layer.axis is not None]
    if not chosen:
        raise ValueError(
            f"layers must match at least one whole name; {pattern!r} matches none of {_sample(survey, pattern)}"
        )
    return chosen


def _by_name(survey: Survey, names: Sequence[str]) -> list[Layer]:
    known = {layer.name: layer for layer in survey.layers}
    for name in names:
        if name not in known:
            close = _sample(survey, name)
            raise ValueError(f"layers must be names of this model; {name!r} is unknown, close are {close}")
        if known[name].axis is None:
            raise ValueError(f"layer {name!r} has no axis along which the images can be told apart, so no D or G")
    wanted = set(names)
    return [layer for layer in survey.layers if layer.name in wanted]


def _sample(survey: Survey, name: str) -> str:
    names = [layer.name for layer in survey.layers if layer.axis is not None]
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.3) or names[:5]
    return ", ".join(close) + (", …" if len(names) > len(close) else "")
