"""Batch-norm statistics estimated anew, against slow sums over batches, layer after layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from helpers import seeded
from poolscope.datasets import load_images
from poolscope.networks import load_model
from poolscope.pooling.recalibrate import recalibrate
from poolscope.sensitivity.prepare import reestimate


def smooth(count: int, size: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    """Images of different brightness, so that batches differ."""
    images = torch.randn(count, 3, size, size, generator=seeded(1), dtype=dtype)
    return images + torch.linspace(-2, 3, count, dtype=dtype).view(-1, 1, 1, 1)


def two_layers() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.ReLU(inplace=True), nn.Dropout(0.5),
            nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5, momentum=None), nn.ReLU(inplace=True),
        )  # fmt: skip
        for norm in (model[1], model[5]):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.num_batches_tracked.fill_(77)
    return model.double().eval()


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of each channel, in loops."""
    means, variances = [], []
    for channel in range(x.shape[1]):
        values = [float(value) for value in x[:, channel].detach().flatten()]
        mean = sum(values) / len(values)
        means.append(mean)
        variances.append(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return torch.tensor(means, dtype=torch.float64), torch.tensor(variances, dtype=torch.float64)


def normalised(norm: Any, x: Tensor) -> Tensor:
    mean, variance = moments(x)
    count = x.numel() // x.shape[1]
    scale = norm.weight / (variance * (count - 1) / count + norm.eps).sqrt()
    return (x - mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def expected_statistics(model: nn.Module, batches: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Means over images of each batch's mean and unbiased variance; what follows a norm sees the batch normalised."""
    total = sum(map(len, batches))
    found = [[torch.zeros(4), torch.zeros(4)], [torch.zeros(5), torch.zeros(5)]]
    for batch in batches:
        first = model[0](batch)
        second = model[4](normalised(model[1], first).relu())
        for sums, features in zip(found, (first, second), strict=True):
            for number, value in enumerate(moments(features)):
                sums[number] = sums[number] + value * len(batch) / total
    return [(sums[0], sums[1]) for sums in found]


def check(model: nn.Module, batches: list[Tensor]) -> None:
    for norm, (mean, variance) in zip((model[1], model[5]), expected_statistics(model, batches), strict=True):
        # running averages in float64, of a few batches; float32 images are doubled exactly
        torch.testing.assert_close(norm.running_mean, mean.double(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(norm.running_var, variance.double(), rtol=1e-10, atol=1e-12)
        assert int(norm.num_batches_tracked) == len(batches)


def test_statistics_of_one_batch() -> None:
    model, images = two_layers(), smooth(10)
    recalibrate(model, images)
    check(model, [images])


@pytest.mark.parametrize("sizes", [[4, 4], [4, 4, 3], [3, 5, 2, 2]])
def test_statistics_of_several_batches_weigh_images_alike(sizes: list[int]) -> None:
    model, images = two_layers(), smooth(sum(sizes))
    batches = list(images.split(sizes))
    reestimate(model, iter(batches))
    check(model, batches)


def test_more_images_than_a_batch() -> None:
    model, images = two_layers(), smooth(150, size=6)
    recalibrate(model, images)
    check(model, [images[:128], images[128:]])


@pytest.mark.parametrize(
    ("sizes", "joined"),
    [([4, 1], [5]), ([4, 4, 1], [4, 5]), ([1, 4, 4], [5, 4]), ([1, 1, 1, 1, 1], [2, 3]), ([1, 1], [2])],
)
def test_a_lone_image_joins_its_neighbours(sizes: list[int], joined: list[int]) -> None:
    model, images = two_layers(), smooth(sum(sizes))
    reestimate(model, iter(images.split(sizes)))
    check(model, list(images.split(joined)))


def test_a_last_batch_of_one_image_on_a_single_position() -> None:
    """torch refuses the variance of one number; 129 images are 128 and one."""
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).double().eval()
    images = smooth(129, size=3)
    recalibrate(model, images)
    mean, variance = moments(images.mean(dim=(2, 3), keepdim=True))
    torch.testing.assert_close(model[1].running_mean, mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model[1].running_var, variance, rtol=1e-10, atol=1e-12)


def test_fewer_than_two_images_are_refused() -> None:
    for count in (1, 0):
        with pytest.raises(ValueError, match=f"at least 2 images are needed to estimate batch-norm.*; got {count}"):
            reestimate(two_layers(), iter(smooth(2)[:count].split(1) if count else []))
    with pytest.raises(ValueError, match="at least 2 images are needed"):
        recalibrate(two_layers(), smooth(1))
    recalibrate(nn.Conv2d(3, 2, 3).double(), smooth(1))  # nothing to estimate


def test_a_norm_that_is_called_twice_weighs_its_calls_alike() -> None:
    norm = nn.BatchNorm2d(3)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = norm

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(input=5 * self.norm(x) + 1)

    model, images = Twice().double().eval(), smooth(10)
    reestimate(model, iter(images.split(5)))
    means, variances = torch.zeros(3), torch.zeros(3)
    for batch in images.split(5):
        first = moments(batch)
        second = moments(5 * normalised(norm, batch) + 1)
        means = means + (first[0] + second[0]) / 4
        variances = variances + (first[1] + second[1]) / 4
    torch.testing.assert_close(norm.running_mean, means.double(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(norm.running_var, variances.double(), rtol=1e-10, atol=1e-12)


def test_modes_momenta_hooks_and_random_states_are_put_back() -> None:
    model = two_layers().train()
    model[5].eval()
    before = torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.named_parameters()}
    images = smooth(6)
    recalibrate(model, DataLoader(TensorDataset(images), batch_size=6))  # which draws a seed for its workers
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model] == [True] * 5 + [False, True]
    assert (model[1].momentum, model[5].momentum) == (0.3, None)
    assert not any(module._forward_pre_hooks for module in model)
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    check(model.eval(), [images])  # the dropout was off, as in this sum


class Interrupted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


def test_everything_but_the_statistics_is_put_back_after_an_interrupt() -> None:
    model = nn.Sequential(two_layers(), Interrupted()).train()
    model[0][5].eval()
    with pytest.raises(KeyboardInterrupt):
        recalibrate(model, smooth(6))
    assert [module.training for module in model[0]] == [True] * 5 + [False, True]
    assert (model[0][1].momentum, model[0][5].momentum) == (0.3, None)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_that_works_in_place_does_not_reach_the_images() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm2d(3)).double()
    images = smooth(6)
    kept = images.clone()
    recalibrate(model, images)
    assert torch.equal(images, kept)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda images: TensorDataset(images, torch.zeros(len(images))),
        lambda images: DataLoader(TensorDataset(images), batch_size=4),
        lambda images: images.float(),
    ],
    ids=["data set", "loader", "other precision"],
)
def test_images_of_every_kind(wrap: Callable[[Tensor], object]) -> None:
    model, images = two_layers(), smooth(10).float().double()
    source = wrap(images)
    recalibrate(model, source)
    check(model, list(images.split(4)) if isinstance(source, DataLoader) else [images])


def test_named_images_arrive_as_the_model_wants_them(tmp_path: Path) -> None:
    generator = seeded(1)
    for number in range(3):
        pixels = torch.randint(0, 256, (40, 48, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(tmp_path / f"{number}.png")
    for name, channels in ((str(tmp_path), 3), ("digits", 1)):
        model = load_model("poolscope:minivgg", seed=0, in_channels=channels)
        convolution, norm = model.features[0], model.features[1]
        recalibrate(model, name)
        images = load_images(f"imagefolder:{name}" if name != "digits" else name, for_model=model)
        assert images.shape[-2:] == (32, 32)
        with torch.no_grad():
            expected = convolution(images).double().mean(dim=(0, 2, 3))
        # float32 means of numbers of order 1 over the images
        torch.testing.assert_close(norm.running_mean.double(), expected, rtol=1e-4, atol=1e-5)


def test_what_is_no_batch_norm_with_statistics_stays() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.GroupNorm(2, 4),
        nn.InstanceNorm2d(4, track_running_stats=True),
    )  # fmt: skip
    state = {name: value.clone() for name, value in model.state_dict().items()}
    calls: list[bool] = []
    model[1].register_forward_hook(lambda module, args, output: calls.append(module.training))
    recalibrate(model.train(), smooth(6).float())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert calls == []  # nothing to estimate, and no forward for it
    assert all(module.training for module in model.modules())


def test_a_norm_told_not_to_track_stays_as_it_is() -> None:
    model = two_layers()
    model[1].track_running_stats = False
    before = {name: value.clone() for name, value in model[1].state_dict().items()}
    recalibrate(model, smooth(6))
    assert all(torch.equal(value, before[name]) for name, value in model[1].state_dict().items())
    assert int(model[5].num_batches_tracked) == 1


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), TypeError, "images must be floating point"),
        (torch.zeros(3, 8, 8), ValueError, "must take images of shape .2, 8, 8.; it raised"),  # as rows
        (7, TypeError, "images must be a tensor"),
    ],
)
def test_images_that_are_refused(images: object, kind: type[Exception], message: str) -> None:
    model = two_layers()
    with pytest.raises(kind, match=message):
        recalibrate(model, images)
    assert int(model[1].num_batches_tracked) == 77  # before any work
