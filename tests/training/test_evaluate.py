"""Loss and error of a network, image by image, in evaluation mode."""

import math

import pytest
import torch
from torch import Tensor, nn

from helpers import seeded
from poolscope.training import Recipe
from poolscope.training.batches import Corruption, LabelledImages
from poolscope.training.evaluate import evaluate

RECIPE = Recipe(epochs=1, lr=1.0)


class Reader(nn.Module):
    """Scores read off the image; wrong on purpose in training mode."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.outputs = outputs
        self.seen: list[Tensor] = []
        self.formats: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.seen.append(images)
        self.formats.append(images.is_contiguous(memory_format=torch.channels_last))
        return self.scale * images[:, 0, 0, : self.outputs] * (-1 if self.training else 1)


def made(count: int, outputs: int = 3, **fields: object) -> LabelledImages:
    images = torch.randn(count, 2, 4, 4, generator=seeded(0))
    return LabelledImages(images, torch.randint(0, max(2, outputs), (count,), generator=seeded(1)), **fields)


@pytest.mark.parametrize("count", [1, 7, 256, 257, 600])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_the_means_over_all_images_whatever_the_batches(count: int, memory_format: str) -> None:
    model, data = Reader().train(), made(count)
    loss, wrong = 0.0, 0
    for image, label in zip(data.images.tolist(), data.labels.tolist(), strict=True):
        scores = image[0][0][:3]
        loss += math.log(sum(map(math.exp, scores))) - scores[label]
        wrong += scores.index(max(scores)) != label
    found = evaluate(model, data, RECIPE.changed(memory_format=memory_format))
    assert found == pytest.approx({"loss": loss / count, "error": wrong / count}, rel=1e-6)  # float32 losses
    assert model.training
    assert all(model.formats) == (memory_format == "channels_last")
    assert torch.equal(torch.cat(model.seen), data.images)


def test_hinge() -> None:
    model, data = Reader(1), made(50, 1)
    scores, labels = data.images[:, 0, 0, 0].tolist(), data.labels.tolist()
    signs = [1 if label else -1 for label in labels]
    expected = {
        "loss": sum(max(0, 1 - sign * score) for sign, score in zip(signs, scores, strict=True)) / 50,
        "error": sum(sign * score < 0 for sign, score in zip(signs, scores, strict=True)) / 50,
    }
    assert evaluate(model, data, RECIPE.changed(loss="hinge")) == pytest.approx(expected, rel=1e-6)


def test_noise_is_of_seed_and_epoch() -> None:
    data = made(300, corruption=Corruption(3.0, "fresh"))

    def seen(**place: int) -> Tensor:
        model = Reader()
        before = torch.get_rng_state()
        evaluate(model, data, RECIPE, **place)
        assert torch.equal(torch.get_rng_state(), before)
        return torch.cat(model.seen) - data.images

    noise = seen(seed=1, epoch=2)
    assert torch.equal(noise, seen(seed=1, epoch=2))
    assert not torch.allclose(noise, seen(seed=1, epoch=3))
    assert not torch.allclose(noise, seen(seed=0, epoch=2))
    assert not torch.allclose(noise[:44], noise[256:], atol=1e-3)  # the second batch has its own, beyond rounding
    assert noise.flatten(1).norm(dim=1).mean() == pytest.approx(3, rel=0.05)


def test_in_bfloat16_losses_are_still_float32() -> None:
    class Half(Reader):
        def forward(self, images: Tensor) -> Tensor:
            assert torch.is_autocast_enabled("cpu")
            return super().forward(images).bfloat16()

    data = made(40)
    rough = evaluate(Half(), data, RECIPE.changed(precision="bf16-mixed"))
    exact = evaluate(Reader(), data, RECIPE)
    assert rough["loss"] == pytest.approx(exact["loss"], rel=0.02)
    outputs = data.images[:, 0, 0, :3].bfloat16().float()
    expected = nn.functional.cross_entropy(outputs, data.labels).item()
    assert rough["loss"] == pytest.approx(expected, rel=1e-6)


def test_modes_come_back_after_an_error() -> None:
    class Failing(Reader):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("no")

    model = nn.Sequential(nn.Identity(), Failing()).train()
    model[0].eval()
    with pytest.raises(RuntimeError, match="no"):
        evaluate(model, made(3), RECIPE)
    assert [module.training for module in model.modules()] == [True, False, True]
    assert torch.is_grad_enabled()
