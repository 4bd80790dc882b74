"""The training loop: it learns, repeats itself exactly, and leaves everything else as it was."""

import math

import pytest
import torch
from torch import Tensor, nn

from helpers import seeded
from poolscope.networks import load_model
from poolscope.training import accuracy, fit
from poolscope.training.loop import _lr_factor, _parameter_groups


def blobs(number: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Grey 6x6 images of two classes, bright on the left or on the right, noisy."""
    labels = torch.arange(number) % 2
    images = torch.randn(number, 1, 6, 6, generator=seeded(seed))
    images[labels == 0, :, :, :3] += 2
    images[labels == 1, :, :, 3:] += 2
    return images, labels


def small(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 2)
        ).eval()


def test_the_demo_network_learns_the_digits() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is an extra")
    from poolscope.datasets import load_images

    model = load_model("poolscope:minivgg", in_channels=1, seed=0)
    train = load_images("digits", split="train", with_labels=True)
    test = load_images("digits", split="test", with_labels=True)
    assert accuracy(model, *test) < 0.3  # ten classes, not trained yet
    rows = fit(model, *train, epochs=3, batch_size=32, validation=test)
    assert accuracy(model, *test) == rows[-1]["validation_accuracy"] > 0.95


@pytest.mark.parametrize("precision", ["float32", "bf16-mixed"])
def test_a_seed_fixes_the_result(precision: str) -> None:
    images, labels = blobs()

    def trained(seed: int) -> tuple[list[dict[str, float]], Tensor]:
        torch.manual_seed(torch.seed() % 2**32)  # whatever the global generator holds
        model = small()
        rows = fit(model, images, labels, epochs=2, batch_size=16, seed=seed, precision=precision)
        return rows, nn.utils.parameters_to_vector(model.parameters()).detach()

    rows, weights = trained(3)
    again, same_weights = trained(3)
    assert rows == again
    assert torch.equal(weights, same_weights)
    assert weights.dtype == torch.float32
    assert not torch.equal(trained(4)[1], weights)


def test_modes_gradients_and_generators_are_left_as_they_were() -> None:
    model = small()
    model.train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    before = torch.get_rng_state()
    images, labels = blobs()
    fit(model, images, labels, epochs=1, validation=(images, labels))

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, images, labels, epochs=1, on_epoch=stop)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def test_batch_norm_learns_while_training_although_the_model_came_in_evaluation_mode() -> None:
    model = small()
    fit(model, *blobs(), epochs=1, batch_size=10)
    assert model[1].num_batches_tracked == 4


def test_rows_and_callback() -> None:
    seen: list[dict[str, float]] = []
    rows = fit(small(), *blobs(), epochs=12, lr=0.1, validation=blobs(seed=1), on_epoch=seen.append)
    assert seen == rows
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert set(rows[0]) == {"epoch", "loss", "accuracy", "validation_accuracy"}
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["validation_accuracy"] > 0.9


def test_three_steps_are_the_definition() -> None:
    images, labels = blobs(12)
    images = images[:, :, 2:3, 2:3].expand(-1, -1, 6, 6).contiguous()  # constant images: a crop changes nothing
    model, expected = small(), small().train()
    model[4], expected[4] = nn.Dropout(0.0), nn.Dropout(0.0)
    parameters = list(expected.parameters())
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    for lr in (0.05, 0.05, 0.025):  # up in a tenth of three steps, at least one; then (1 + cos(0, π/2)) / 2
        gradients = torch.autograd.grad(nn.functional.cross_entropy(expected(images), labels), parameters)
        with torch.no_grad():
            for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
                decay = 5e-4 * parameter if parameter.ndim > 1 else 0
                velocity.mul_(0.9).add_(gradient + decay)
                parameter.sub_(lr * velocity)
    fit(model, images, labels, epochs=3, batch_size=12, lr=0.05)
    for parameter, wanted in zip(model.parameters(), parameters, strict=True):
        # float32 rounding: the order of the images in the batch, and so of the sums, differs
        torch.testing.assert_close(parameter, wanted, rtol=1e-5, atol=2e-6)


def test_only_matrices_decay_and_frozen_parameters_stay() -> None:
    model = small()
    model[0].weight.requires_grad_(False)
    decayed, rest = _parameter_groups(model)
    assert [parameter.shape for parameter in decayed["params"]] == [(2, 64)]
    assert [parameter.shape for parameter in rest["params"]] == [(4,), (4,), (4,), (2,)]
    assert (decayed["weight_decay"], rest["weight_decay"]) == (5e-4, 0.0)
    before = model[0].weight.clone()
    fit(model, *blobs(), epochs=1)
    assert torch.equal(model[0].weight, before)


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [_lr_factor(step, 100) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert _lr_factor(0, 1) == 1


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
    for batch_size in (1, 3, 256):
        assert accuracy(model, images, labels, batch_size=batch_size) == pytest.approx(5 / 7)
    assert model.training


def test_a_loss_that_is_not_finite_stops_it() -> None:
    images, labels = blobs()
    with pytest.raises(RuntimeError, match="the loss must stay finite; got nan in epoch 1"):
        fit(small(), images * math.nan, labels, epochs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "at least 1; got 0 and 64"),
        ({"batch_size": 0}, "at least 1; got 1 and 0"),
        ({"lr": 0.0}, "lr must be positive and finite; got 0.0"),
        ({"seed": 2**32}, r"seed must be in 0 \.\. 2\*\*32 - 1"),
        ({"labels": torch.full((40,), -1)}, "class numbers from 0.*got -1"),
        ({"images": torch.zeros(0, 1, 6, 6), "labels": torch.zeros(0, dtype=torch.int64)}, "got 0 and 0"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    images, labels = blobs()
    with pytest.raises(ValueError, match=message):
        fit(**{"model": small(), "images": images, "labels": labels, "epochs": 1, **arguments})


def test_crops_and_flips_are_those_asked_for() -> None:
    images, labels = torch.arange(8 * 9.0).view(8, 1, 3, 3), torch.arange(8) % 2

    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(9, 2))
            self.seen: list[Tensor] = []

        def forward(self, batch: Tensor) -> Tensor:
            self.seen.append(batch.detach().clone())
            return batch.flatten(1) @ self.weight

    def seen(**options: object) -> Tensor:
        model = Keeping()
        fit(model, images, labels, epochs=1, batch_size=8, lr=1e-6, **options)
        (batch,) = model.seen
        return batch[batch[:, 0, 1, 1].argsort()]

    assert torch.equal(seen(crop_padding=0), images)
    mirrored = seen(crop_padding=0, flip=True)
    turned = (mirrored == images.flip(-1)).all(dim=(1, 2, 3))
    assert 0 < int(turned.sum()) < 8
    assert ((mirrored == images).all(dim=(1, 2, 3)) ^ turned).all()
    assert not torch.equal(seen(crop_padding=1).sort().values, images.sort().values)
