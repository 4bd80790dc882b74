"""Two or more models under the same deformations and the same noise: differences with their own intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from poolscope._progress import Progress
from poolscope.sensitivity.estimate import quantile_t
from poolscope.sensitivity.moments import Covariance
from poolscope.sensitivity.result import Result
from poolscope.sensitivity.session import Session, make_settings
from poolscope.sensitivity.source import open_source
from poolscope.sensitivity.together import process_together

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Comparison:
    """Models measured on the same perturbed images.

    Attributes:
        table: one row for each layer that a model shares by name with the first: ``layer, first, second, R_first,
            R_second, log_ratio, log_ratio_se, low, high, note``; log_ratio = log(R_second / R_first), natural, ``low``
            and ``high`` its 95 % interval, paired over images.
        result: all models' rows in one ``Result``.
    """

    table: pd.DataFrame
    result: Result
    record: dict[str, Any] = field(default_factory=dict)


def compare(
    models: Mapping[str, nn.Module] | nn.Module,
    *others: nn.Module,
    images: object,
    **options: Any,
) -> Comparison:
    """Measure several models on the same images, deformations and noise, and compare R layer by layer.

    The images' own differences cancel in the comparison, so that its intervals are those of the per-image differences.

    Args:
        models: models by name, the first one the reference; or the first of several models.
        others: further models, if no names are given.
        images: as for ``measure``; a name is opened for the first model (its size and normalisation).
        options: as for ``measure``; ``process_group`` is not among them.

    Returns:
        ``Comparison``.

    Raises:
        TypeError: names and further models at once.
        ValueError: fewer than two models, or what ``measure`` refuses.
    """
    if isinstance(models, Mapping) and others:
        raise TypeError(
            f"models are given by name or one after the other, not both; got {len(others)} beside a mapping"
        )
    named = dict(models) if isinstance(models, Mapping) else _named((models, *others))
    if len(named) < 2:
        raise ValueError(f"at least 2 models are needed for a comparison; got {len(named)}")
    progress = bool(options.pop("progress", True))
    settings = make_settings(**options)
    source = open_source(images, next(iter(named.values())))
    with ExitStack() as stack:
        sessions = [stack.enter_context(Session(model, source, settings)) for model in named.values()]
        size = min(session.batch_size for session in sessions)
        for session in sessions:
            session.batch_size = size
        first = sessions[0]
        numbers = [{layer.name: number for number, layer in enumerate(session.sums.layers)} for session in sessions]
        shared = [[name for name in numbers[0] if name in own] for own in numbers[1:]]
        joint = [Covariance(len(names), 4) for names in shared]
        with Progress(first.total(), f"comparing {len(sessions)} models", enabled=progress) as bar:
            for images_part, indices in first.pieces():
                powers = process_together(sessions, images_part, indices)
                for names, moments, own, values in zip(shared, joint, numbers[1:], powers[1:], strict=True):
                    rows = [
                        torch.cat([powers[0][numbers[0][name], :2], values[own[name], :2]]) for name in names
                    ]
                    moments.update(torch.stack(rows))
                bar.advance(len(images_part))
        results = [session.result(name, "given") for session, name in zip(sessions, named, strict=True)]
    return _assemble(list(named), results, shared, joint)


def _named(models: tuple[nn.Module, ...]) -> dict[str, nn.Module]:
    from poolscope.networks import model_name

    names: dict[str, nn.Module] = {}
    for model in models:
        name, number = model_name(model), 2
        while name in names:
            name, number = f"{model_name(model)} ({number})", number + 1
        names[name] = model
    return names


def _assemble(
    names: list[str], results: list[Result], shared: list[list[str]], joint: list[Covariance]
) -> Comparison:
    import pandas as pd

    rows = []
    for second, layers, moments in zip(names[1:], shared, joint, strict=True):
        pair = (results[0].table, results[names.index(second)].table)
        R_of = [dict(zip(each["layer"], each["R"], strict=True)) for each in pair]
        for number, layer in enumerate(layers):
            R_first, R_second = (R[layer] for R in R_of)
            ratio, error = log_ratio(moments.mean[number], moments.covariance[number], moments.count)
            note = ""
            if not (R_first > 0 and R_second > 0):
                ratio, error, note = math.nan, math.nan, "R is not defined and positive for both"
            reach = quantile_t(moments.count - 1) * error
            rows.append(
                {
                    "layer": layer,
                    "first": names[0],
                    "second": second,
                    "R_first": R_first,
                    "R_second": R_second,
                    "log_ratio": ratio,
                    "log_ratio_se": error,
                    "low": ratio - reach,
                    "high": ratio + reach,
                    "note": note,
                }
            )
    table = pd.concat([result.table for result in results], ignore_index=True)
    record = {**results[0].record, "model": ", ".join(names), "compared": [result.record for result in results]}
    return Comparison(pd.DataFrame(rows), Result(table, record), record)


def log_ratio(mean: torch.Tensor, covariance: torch.Tensor, count: int) -> tuple[float, float]:
    """Return log(R2 / R1) and its standard error of per-image (a1, b1, a2, b2), R = mean a / mean b (delta method)."""
    if not bool((mean > 0).all()):
        return math.nan, math.nan
    a1, b1, a2, b2 = mean.tolist()
    gradient = torch.tensor([-1 / a1, 1 / b1, 1 / a2, -1 / b2], dtype=torch.float64)
    variance = float(gradient @ covariance @ gradient) / count
    return math.log(a2 / b2) - math.log(a1 / b1), math.sqrt(max(variance, 0.0))
