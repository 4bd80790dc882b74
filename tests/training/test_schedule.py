"""The learning rate against torch's schedulers."""

import math

import pytest
import torch

from poolscope.training import Recipe, load_recipe
from poolscope.training.schedule import learning_rate


def of_torch(lr: float, length: float, count: int) -> list[float]:
    """What CosineAnnealingLR gives at 0, 1, ... steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=length)
    rates = []
    for _ in range(count):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("name", "last"), [("cifar-sgd", 0.0141), ("scale-detection", 0.0071)])
def test_the_published_schedule_reaches_zero_early_and_rises_again(name: str, last: float) -> None:
    recipe = load_recipe(name)
    rates = [learning_rate(recipe, epoch, 0, 7) for epoch in range(recipe.epochs)]
    # torch multiplies its way along; 1e-12 are a few hundred roundings of 1e-16
    assert rates == pytest.approx(of_torch(recipe.lr, 0.8 * recipe.epochs, recipe.epochs), rel=0, abs=1e-12)
    assert rates[recipe.epochs * 4 // 5] == pytest.approx(0, abs=1e-15)
    assert rates[0] == recipe.lr
    assert rates[-1] == pytest.approx(last, abs=5e-5)
    assert [learning_rate(recipe, 17, step, 7) for step in range(7)] == [rates[17]] * 7


def test_by_steps_it_falls_within_the_epoch() -> None:
    recipe = Recipe(epochs=5, lr=0.3)
    rates = [learning_rate(recipe, epoch, step, 8) for epoch in range(5) for step in range(8)]
    assert rates == pytest.approx(of_torch(0.3, 40, 40), rel=0, abs=1e-14)
    assert rates == sorted(rates, reverse=True)


def test_the_warm_up_rises_by_equal_steps_and_the_cosine_takes_the_rest() -> None:
    recipe = Recipe(epochs=4, lr=0.1, warmup_epochs=1.5)
    rates = [learning_rate(recipe, epoch, step, 10) for epoch in range(4) for step in range(10)]
    assert rates[:15] == pytest.approx([0.1 * (step + 1) / 15 for step in range(15)])
    assert rates[14] == rates[15] == pytest.approx(0.1)
    assert rates[15:] == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 25)) for step in range(25)])


def test_a_warm_up_of_a_fraction_of_a_step_changes_nothing() -> None:
    recipe = Recipe(epochs=4, lr=0.1, warmup_epochs=0.01, schedule="constant")
    assert learning_rate(recipe, 0, 0, 10) == 0.1


def test_a_warm_up_by_epochs() -> None:
    recipe = Recipe(epochs=6, lr=0.1, warmup_epochs=2.0, schedule_by="epoch", schedule_span=0.5)
    rates = [learning_rate(recipe, epoch, step, 3) for epoch in range(6) for step in (0, 2)]
    expected = [0.05, 0.1, 0.1, 0.0, 0.1, 0.0]  # T = 0.5 * 6 - 2 = 1 epoch: down, and up again
    assert rates == pytest.approx([rate for rate in expected for _ in range(2)], abs=1e-15)


def test_constant_and_no_room_for_a_cosine() -> None:
    constant = Recipe(epochs=6, lr=0.1, schedule="constant", warmup_epochs=1.0)
    assert [learning_rate(constant, epoch, 0, 2) for epoch in range(6)] == [0.05] + [0.1] * 5
    # a span that ends within the warm-up leaves the highest rate
    short = Recipe(epochs=10, lr=0.1, schedule_span=0.2, warmup_epochs=2.0)
    assert [learning_rate(short, epoch, 1, 2) for epoch in range(2, 10)] == [0.1] * 8
