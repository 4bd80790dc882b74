"""A trial proposes: four rows, true rates, and nothing changed."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from poolscope.training import Data
from poolscope.training.learner import Learner
from poolscope.training.trial import time_steps
from training.small_runs import configured, small_recipe


def test_four_rows_the_fastest_first(digits: Data, monkeypatch):
    seconds = {("float32", "contiguous"): 0.04, ("bf16-mixed", "contiguous"): 0.02,
               ("float32", "channels_last"): 0.01, ("bf16-mixed", "channels_last"): 0.08}  # fmt: skip
    done: list[tuple[str, str]] = []
    now = [0.0]

    def step(self):
        key = (self.recipe.precision, self.recipe.memory_format)
        first, odd = key not in done, done.count(key) == 2
        now[0] += 9.0 if first else 2 * seconds[key] if odd else seconds[key]  # the first is not counted; a median
        done.append(key)

    monkeypatch.setattr(Learner, "advance", step)
    monkeypatch.setattr("poolscope.training.trial.time", SimpleNamespace(perf_counter=lambda: now[0]))
    threads = torch.get_num_threads()
    recipe = small_recipe(batch_size=20)  # 64 images in 4 batches of 16
    table = time_steps(configured(digits, recipe, threads=threads + 1), digits, seconds=0.5)
    assert torch.get_num_threads() == threads
    keys = list(zip(table["precision"], table["memory_format"], strict=True))
    assert keys == sorted(seconds, key=lambda key: seconds[key])
    assert table["images_per_second"].tolist() == pytest.approx([16 / seconds[key] for key in keys])
    assert table["speedup"].tolist() == pytest.approx([0.04 / seconds[key] for key in keys])


def test_real_steps_across_epochs_leave_data_and_folder_alone(digits: Data, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = digits.train.images.clone()
    state = torch.get_rng_state()
    steps = []
    advance = Learner.advance
    monkeypatch.setattr(Learner, "advance", lambda self: (steps.append(self.epoch), advance(self)))
    table = time_steps(configured(digits, small_recipe(batch_size=64)), digits, seconds=0.1)
    assert len(table) == 4
    assert (table["images_per_second"] > 0).all()
    assert max(steps) >= 1  # an epoch is one step
    assert torch.equal(before, digits.train.images)
    assert torch.equal(state, torch.get_rng_state())
    assert list(tmp_path.iterdir()) == []
