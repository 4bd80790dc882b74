"""Intervals contain the truth for a trained network and photographs: resamples of 500 images against all 10,000."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import poolscope as ps
from helpers import seeded
from poolscope.sensitivity.estimate import CONFIDENCE, Estimate, epsilon, estimate, quantile_t
from poolscope.sensitivity.moments import Covariance, Offset, Scratch, contribution
from poolscope.sensitivity.sums import REFERENCE_IMAGES
from poolscope.training import fit, load_recipe

# Of 300 resamples a share has an error of 0.013: one of the 15 below leaves 0.91 to 0.98 by chance every tenth time.
RESAMPLES, IMAGES = 1000, 500

Rows = tuple[Tensor, Tensor, Tensor]


def trained_network(folder: Path) -> nn.Module:
    """A small VGG after two passes over 4000 photographs, enough to double what guessing gets right."""
    images, labels = ps.load_images(
        f"parquet:{folder}", split="train", normalize="cifar10", count=4000, with_labels=True
    )
    model = ps.load_model("poolscope:minivgg", seed=0)
    recipe = load_recipe("digits").changed(epochs=2, warmup_epochs=0.2)
    rows = fit(model, images, labels, recipe=recipe, progress=False)
    assert rows[-1]["error"] < 0.8, rows
    return model.eval()


def pooled_layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.MaxPool2d)]


@torch.no_grad()
def representations(model: nn.Module, images: Tensor) -> dict[str, Rows]:
    """Return f(x), f(τx), f(x + η), ``[images, features]``, of the output and all poolings but the first, large one."""
    kept: dict[str, list[Tensor]] = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda module, arguments, output, name=name: kept.setdefault(name, []).append(output.flatten(1).clone())
        )
        for name in pooled_layers(model)[1:]
    ]
    deformation, noise, generator = ps.Diffeomorphism(1.0, 3), ps.MatchedNoise(), seeded(1)
    for batch in images.split(250):
        moved = deformation(batch, generator=generator)
        noisy = noise(batch, moved, generator=generator)
        for part in (batch, moved, noisy):
            kept.setdefault("output", []).append(model(part))
    for hook in hooks:
        hook.remove()
    return {name: tuple(torch.cat(parts[which::3]) for which in range(3)) for name, parts in kept.items()}


def measured(clean: Tensor, moved: Tensor, noisy: Tensor) -> Estimate:
    """Estimate as ``measure`` does, the reference c being the mean of the first images."""
    offset, moments = Offset(clean[:REFERENCE_IMAGES].mean(dim=0)), Covariance(3)
    part = contribution(clean, moved[None], noisy[None], offset.centre, Scratch())
    offset.add(part.offset)
    moments.update(torch.stack([part.deformation, part.noise, part.distance]))
    squares = (offset.mean_square(len(clean)), offset.mean_power(len(clean)))
    return estimate(len(clean), moments.mean, moments.covariance, *squares, eps=epsilon(clean.dtype))


def population(clean: Tensor, moved: Tensor, noisy: Tensor) -> dict[str, float]:
    """Return D, G, R of images drawn from these with replacement: two draws may be one image, so there is no N - 1."""
    a, b = (float((part - clean).double().square().sum(dim=1).mean()) for part in (moved, noisy))
    spread = 2 * float(clean.double().var(dim=0, correction=0).sum())
    return {"D": a / spread, "G": b / spread, "R": a / b}


def intervals(found: Estimate) -> Iterator[tuple[str, float, float]]:
    t = quantile_t(IMAGES - 1)
    yield "D", found.D - t * found.D_se, found.D + t * found.D_se
    yield "G", found.G - t * found.G_se, found.G + t * found.G_se
    yield "R", found.R_low, found.R_high


@pytest.mark.slow
def test_intervals_of_500_images_contain_the_value_of_all(shared_data: Path) -> None:
    folder = shared_data / "cifar10-jpeg"
    model = trained_network(folder)
    layers = representations(model, ps.load_images(f"parquet:{folder}", split="test", normalize="cifar10"))
    assert len(layers) >= 3
    draws = torch.randint(0, 10_000, (RESAMPLES, IMAGES), generator=seeded(2))
    error = math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / RESAMPLES)
    assert error < 0.01, "the limits must be three errors away"
    shares: dict[tuple[str, str], float] = {}
    for layer, rows in layers.items():
        truth = population(*rows)
        hits = dict.fromkeys(truth, 0)
        for draw in draws:
            for name, low, high in intervals(measured(*(part[draw] for part in rows))):
                hits[name] += low <= truth[name] <= high
        shares.update({(layer, name): number / RESAMPLES for name, number in hits.items()})
        print(layer, rows[0].shape[1], "features", {name: shares[layer, name] for name in hits}, f"± {error:.3f}")
    wrong = {key: share for key, share in shares.items() if not 0.91 <= share <= 0.98}
    assert not wrong, f"95 % intervals contain the value of all 10,000 images, ± {error:.3f}: {wrong}"
