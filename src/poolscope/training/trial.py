"""How fast a network trains on this machine in each precision and memory format: a proposal, never a decision."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, get_args

import torch

from poolscope.training.batches import Batches
from poolscope.training.configuration import Configuration
from poolscope.training.learner import Learner, training
from poolscope.training.prepare import Data, prepare_model
from poolscope.training.recipe import MemoryFormat, Precision

if TYPE_CHECKING:
    import pandas as pd


def time_steps(
    configuration: Configuration, data: Data, *, seconds: float = 5.0, trust_code: bool = False
) -> pd.DataFrame:
    """Time training steps in each precision and memory format, with the configuration's device and threads.

    Args:
        configuration: of the run to come; its own precision and format are timed with the others.
        data: its images.
        seconds: for each of the four, after one step that is not counted; at least one step is.
        trust_code: as for ``load_model``.

    Returns:
        ``precision``, ``memory_format``, ``images_per_second`` (median over steps) and ``speedup`` over float32 and
        contiguous; the fastest first.
    """
    import pandas as pd

    rows = []
    device = torch.device(configuration.device)
    threads = torch.get_num_threads()
    torch.set_num_threads(configuration.threads)
    try:
        resident = data.train.to(device)
        for precision, memory_format in itertools.product(get_args(Precision), get_args(MemoryFormat)):
            recipe = configuration.recipe.changed(precision=precision, memory_format=memory_format)
            model = prepare_model(configuration, trust_code=trust_code).to(device)
            learner = Learner(model, Batches(resident, recipe, 0), recipe, 0)
            with training(model, device):
                times = _step_times(learner, seconds)
            rate = len(resident) / learner.batches.steps / sorted(times)[len(times) // 2]
            rows.append({"precision": precision, "memory_format": memory_format, "images_per_second": rate})
    finally:
        torch.set_num_threads(threads)
    table = pd.DataFrame(rows)
    plain = table[(table["precision"] == "float32") & (table["memory_format"] == "contiguous")]
    table["speedup"] = table["images_per_second"] / plain["images_per_second"].iloc[0]
    return table.sort_values("images_per_second", ascending=False, ignore_index=True)


def _step_times(learner: Learner, seconds: float) -> list[float]:
    times: list[float] = []
    for number in itertools.count():
        if learner.step == learner.batches.steps:
            learner.end_epoch()
        began = time.perf_counter()
        learner.advance()
        if learner.device.type == "cuda":
            torch.cuda.synchronize(learner.device)
        if number:  # the first is not counted
            times.append(time.perf_counter() - began)
            if sum(times) >= seconds:
                break
    return times
