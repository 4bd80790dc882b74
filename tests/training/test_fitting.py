"""Training in memory: it learns, repeats itself exactly, and leaves everything else as it was."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from helpers import seeded
from poolscope.networks import load_model
from poolscope.training import Diverged, Recipe, accuracy, fit, load_recipe
from poolscope.training.batches import Batches, LabelledImages
from poolscope.training.schedule import learning_rate


def blobs(number: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Grey 6x6 images of two classes, bright on the left or on the right, noisy."""
    labels = torch.arange(number) % 2
    images = torch.randn(number, 1, 6, 6, generator=seeded(seed))
    images[labels == 0, :, :, :3] += 2
    images[labels == 1, :, :, 3:] += 2
    return images, labels


def small(dropout: float = 0.2) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(64, 2)
        ).eval()


def recipe(**fields: object) -> Recipe:
    return load_recipe("digits").changed(**{"epochs": 1, "batch_size": 16, "warmup_epochs": 0.5, **fields})


def test_the_demo_network_learns_the_digits() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is an extra")
    from poolscope.datasets import load_images

    model = load_model("poolscope:minivgg", in_channels=1, width=0.1, seed=0)
    images, labels = load_images("digits", split="train", count=500, with_labels=True)
    test = load_images("digits", split="test", count=100, with_labels=True)
    assert accuracy(model, *test) < 0.3  # ten classes, not trained yet
    rows = fit(model, images, labels, recipe=recipe(epochs=3, batch_size=16), validation=test)
    assert accuracy(model, *test) == 1 - rows[-1]["validation_error"] > 0.8


def test_a_seed_fixes_the_result_whatever_the_global_generator_holds() -> None:
    def trained(seed: int) -> tuple[list[dict[str, float]], Tensor]:
        torch.seed()
        model = small()
        rows = fit(model, *blobs(), recipe=recipe(epochs=2), seed=seed)
        return rows, nn.utils.parameters_to_vector(model.parameters()).detach()

    rows, weights = trained(3)
    again, same_weights = trained(3)
    assert rows == again
    assert torch.equal(weights, same_weights)
    assert not torch.equal(trained(4)[1], weights)


def test_the_steps_are_those_of_the_recipe() -> None:
    """The whole of it against a loop written out, on the batches of the seed."""
    images, labels = blobs(22)
    chosen = recipe(epochs=2, batch_size=8, crop_padding=0)
    model, expected = small(0.0), small(0.0).train()
    batches = Batches(LabelledImages(images, labels), chosen, 5)
    parameters = list(expected.parameters())
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    for epoch in range(2):
        for step in range(3):
            inputs, wanted = batches(epoch, step)
            gradients = torch.autograd.grad(nn.functional.cross_entropy(expected(inputs), wanted), parameters)
            with torch.no_grad():
                for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
                    velocity.mul_(0.9).add_(gradient + (5e-4 * parameter if parameter.ndim > 1 else 0))
                    parameter.sub_(learning_rate(chosen, epoch, step, 3) * velocity)
    fit(model, images, labels, recipe=chosen, seed=5)
    for parameter, expectation in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(parameter, expectation, rtol=1e-5, atol=1e-6)  # float32 rounding, six steps


def test_modes_gradients_and_generators_are_left_as_they_were() -> None:
    model = small()
    model.train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    before = torch.get_rng_state()
    images, labels = blobs()
    fit(model, images, labels, recipe=recipe(), validation=(images, labels))

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, images, labels, recipe=recipe(), on_epoch=stop)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def test_batch_norm_learns_while_training_although_the_model_came_in_evaluation_mode() -> None:
    model = small()
    fit(model, *blobs(), recipe=recipe(batch_size=10))
    assert model[1].num_batches_tracked == 4


def test_rows_and_callback() -> None:
    seen: list[dict[str, float]] = []
    held_out = blobs(seed=1)
    model = small()
    rows = fit(model, *blobs(), recipe=recipe(epochs=12), validation=held_out, on_epoch=seen.append)
    assert seen == rows
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert set(rows[0]) == {"epoch", "loss", "error", "validation_loss", "validation_error"}
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["validation_error"] < 0.1
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(held_out[0]), held_out[1]).item()
    assert rows[-1]["validation_loss"] == pytest.approx(expected, rel=1e-5)
    assert set(fit(small(), *blobs(), recipe=recipe())[0]) == {"epoch", "loss", "error"}


def test_accuracy_counts_in_evaluation_mode() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, images: Tensor) -> Tensor:
            label = images[:, 0, 0, 0].long()
            return self.scale * nn.functional.one_hot(label if not self.training else 1 - label, 2)

    model = Constant().train()
    images = torch.tensor([0.0, 1, 1, 1, 0, 0, 1]).reshape(7, 1, 1, 1)
    labels = torch.tensor([0, 1, 1, 0, 0, 1, 1])
    assert accuracy(model, images, labels) == pytest.approx(5 / 7)
    assert model.training


def test_a_loss_that_is_not_finite_stops_it() -> None:
    images, labels = blobs()
    model = small()
    with pytest.raises(Diverged, match="the loss must stay finite; got nan in epoch 1"):
        fit(model, images * math.nan, labels, recipe=recipe())
    assert not model.training


def test_a_recipe_is_a_name_a_file_or_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("epochs = 2\nlr = 0.01\n")
    assert len(fit(small(), *blobs(), recipe=str(tmp_path / "mine.toml"))) == 2
    assert len(fit(small(), *blobs())) == load_recipe("digits").epochs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "none"}, "a recipe must be one of .*got 'none'"),
        ({"labels": torch.full((40,), -1)}, "class numbers from 0.*got -1"),
        ({"images": torch.zeros(0, 1, 6, 6), "labels": torch.zeros(0, dtype=torch.int64)}, "got 0 and 0"),
        ({"model": nn.Flatten()}, "the model must have parameters that require gradients; Flatten has none"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    images, labels = blobs()
    with pytest.raises(ValueError, match=message):
        fit(**{"model": small(), "images": images, "labels": labels, "recipe": recipe(), **arguments})
